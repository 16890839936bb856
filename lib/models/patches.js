// From the pixels of an image to the rows that enter the first layer.

import { describe, fault, isArray } from '../checks/errors.js'
import { refuseMore } from '../checks/options.js'
import { arrayType } from '../checks/tensor.js'
import { recorded } from '../face/layers.js'
import { FirstLayer, project } from './embeddings.js'

/** @typedef {import('./embeddings.js').Attention} Attention */
/** @typedef {import('./embeddings.js').Matrix} Matrix */
/** @typedef {import('./embeddings.js').Names} Names */
/**
 * The names of a `PatchEmbeddings`' parameters, and its settings.
 *
 * @typedef {object} Settings
 * @property {Names} patches  the weight is a convolution's, `[M,C,height,width]`
 * @property {string} positions  `[1 + patches, M]`, or `[patches, M]` without a class token, after dimensions of 1
 * @property {string} [classToken]  the row before the patches
 * @property {Names} [norm]
 * @property {boolean} isResized  true to interpolate the positions of images of another size, as DINOv2 does
 * @property {readonly [number, number]} imageSize  height and width
 * @property {number} epsilon
 */

/** The projected patches of an image after a class token, with their positions, normalized. */
export class PatchEmbeddings extends FirstLayer {
  #attention
  #settings

  /**
   * @param {Attention} attention
   * @param {import('./tables.js').Tables} tables
   * @param {Settings} settings
   */
  constructor(attention, tables, settings) {
    super(tables, (/** @type {PatchEmbeddings} */ layer, pixels) => layer.#forward(pixels))
    this.#attention = attention
    this.#settings = settings
    const [, channels, ...kernel] = tables.get(settings.patches.weight).shape
    this.channels = channels
    this.kernel = kernel
    this.imageSize = settings.imageSize
    this.isResized = settings.isResized
  }

  get config() {
    const { channels, imageSize, kernel } = this
    const { positions } = this.#settings
    const modelDim = Number(this.tables.get(positions).shape.at(-1))
    return Object.freeze({ modelDim, numChannels: channels, imageSize: [...imageSize], patchSize: [...kernel] })
  }

  /** @returns {Matrix} */
  get positions() {
    const { data, shape } = this.tables.tensor(this.#settings.positions)
    return { data, shape: shape.slice(-2) }
  }

  /** @returns {import('./embeddings.js').Projection} */
  get projection() {
    const { weight, bias } = this.part(this.#settings.patches)
    return { weight: { data: weight.data, shape: this.#matrixShape(weight.shape) }, ...(bias && { bias }) }
  }

  /** The shape of the weight of patches as rows. @param {readonly number[]} shape */
  #matrixShape([size, ...inner]) {
    return [size, inner.reduce((a, b) => a * b, 1)]
  }

  /**
   * Throws if the positions are not as many as the patches of an image.
   *
   * @param {string} name  of the entry
   */
  checked(name) {
    const [rows, columns] = this.#grid(this.imageSize)
    const count = rows * columns + this.#first
    if (this.positions.shape[0] === count) return this
    throw fault('SHAPE', name, `${count} rows, for images of ${this.imageSize.join('×')}`, `${this.positions.shape[0]}`)
  }

  /**
   * Checks the caller's pixels, and returns their number of rows per image.
   *
   * @param {any} pixels
   */
  check(pixels) {
    const [height, width] = this.imageSize
    const sizes = this.isResized ? 'height, width' : `${height}, ${width}`
    const expected = `a tensor [images, ${this.channels}, ${sizes}]`
    if (arrayType(pixels?.data) !== 'Float32Array' || !isArray(pixels.shape)) {
      throw fault('DTYPE', 'pixels', expected, describe(pixels))
    }
    const [, channels, ...actual] = /** @type {number[]} */ (pixels.shape)
    const isFit = this.isResized
      ? actual.length === 2 && actual.every((length, axis) => length >= this.kernel[axis])
      : actual.length === 2 && actual[0] === height && actual[1] === width
    if (pixels.shape.length !== 4 || channels !== this.channels || !isFit) {
      throw fault('SHAPE', 'pixels', expected, `[${pixels.shape}]`)
    }
    const [rows, columns] = this.#grid(actual)
    return rows * columns + this.#first
  }

  get #first() {
    return this.#settings.classToken ? 1 : 0
  }

  /** The numbers of patches. @param {readonly number[]} size */
  #grid(size) {
    return size.map((length, axis) => Math.floor(length / this.kernel[axis]))
  }

  /**
   * The rows of one image.
   *
   * @param {Matrix} pixels  `[1,C,H,W]`
   * @returns {Matrix}
   */
  run(pixels) {
    const { norm, classToken, epsilon } = this.#settings
    const x = project(this.#attention, this.#patchesOf(pixels), this.projection)
    const size = x.shape[1]
    const data = new Float32Array((x.shape[0] + this.#first) * size)
    data.set(x.data, this.#first * size)
    if (classToken) data.set(this.tables.tensor(classToken).data)
    const positions = this.#positionsOf(this.#grid(pixels.shape.slice(2)))
    for (let i = 0; i < data.length; i++) data[i] += positions[i]
    const rows = { data, shape: [data.length / size, size] }
    if (norm === undefined) return rows
    return /** @type {Matrix} */ (this.#attention.layerNorm(rows, { ...this.part(norm), epsilon }))
  }

  /** The patches of images as rows. @param {Matrix} pixels @returns {Matrix} */
  #patchesOf(pixels) {
    const { data, shape } = this.#attention.unfold(pixels, { kernel: this.kernel, stride: this.kernel })
    return { data: /** @type {Float32Array} */ (data), shape: [shape[0] * shape[1], shape[2]] }
  }

  /** @param {any} pixels @returns {Matrix} */
  #forward(pixels) {
    const count = this.check(pixels)
    const [images, ...shape] = pixels.shape
    const values = shape.reduce((/** @type {number} */ a, /** @type {number} */ b) => a * b, 1)
    const size = this.config.modelDim
    const data = new Float32Array(images * count * size)
    for (let image = 0; image < images; image++) {
      const own = pixels.data.subarray(image * values, (image + 1) * values)
      data.set(this.run({ data: own, shape: [1, ...shape] }).data, image * count * size)
    }
    return { data, shape: [images, count, size] }
  }

  /**
   * Records a call of `forward`. Pixels have no gradients.
   *
   * @param {import('../training/recorder.js').Recorder} recorder
   * @param {unknown} _inputs
   * @param {{ parameters: import('../training/scope.js').Parameters }} target
   * @param {readonly any[]} args
   */
  [recorded](recorder, _inputs, { parameters }, [pixels, ...more]) {
    refuseMore('forward', more)
    const count = this.check(pixels)
    const [images, , ...area] = pixels.shape
    if (`${area}` !== `${this.imageSize}`) {
      throw fault('OPTION', 'pixels', 'none: positions that are interpolated have no gradient', `[${pixels.shape}]`)
    }
    const { patches, positions, classToken, norm, epsilon } = this.#settings
    const value = (/** @type {string | undefined} */ name) =>
      /** @type {import('../training/tape.js').Value} */ (name === undefined ? undefined : parameters.value(name))
    const weight = value(patches.weight)
    const rows = recorder.constant(this.#patchesOf(pixels))
    const projected = recorder.linear(
      rows,
      recorder.reshape(weight, this.#matrixShape(weight.shape)),
      value(patches.bias)
    )
    const size = weight.shape[0]
    let x = recorder.reshape(projected, [images, count - this.#first, size])
    if (classToken) {
      const token = recorder.reshape(value(classToken), [1, 1, size])
      x = recorder.concat([recorder.expand(token, [images, 1, size]), x], 1)
    }
    x = recorder.add(x, recorder.reshape(value(positions), [1, count, size]))
    return norm ? recorder.norm('layer', x, { weight: value(norm.weight), bias: value(norm.bias) }, epsilon) : x
  }

  /** @param {readonly number[]} grid  rows and columns of patches */
  #positionsOf(grid) {
    const { data, shape } = this.positions
    const own = this.#grid(this.imageSize)
    if (grid.every((length, axis) => length === own[axis])) return data
    const size = shape[1]
    const first = this.#first * size
    const output = new Float32Array(first + grid[0] * grid[1] * size)
    output.set(data.subarray(0, first))
    output.set(resize(data.subarray(first), own, grid, size), first)
    return output
  }
}

/**
 * Bicubic interpolation of a grid of rows, as `torch.nn.functional.interpolate` with half-pixel centers.
 *
 * @param {Float32Array} table  `[height, width, size]`
 * @param {readonly number[]} from  height and width
 * @param {readonly number[]} to  the new height and width
 * @param {number} size
 */
function resize(table, from, to, size) {
  const [rows, columns] = [tapsOf(from[0], to[0]), tapsOf(from[1], to[1])]
  const output = new Float32Array(to[0] * to[1] * size)
  rows.forEach((vertical, row) => {
    columns.forEach((horizontal, column) => {
      const target = (row * to[1] + column) * size
      for (const [y, upper] of vertical) {
        for (const [x, left] of horizontal) {
          const source = (y * from[1] + x) * size
          for (let i = 0; i < size; i++) output[target + i] += upper * left * table[source + i]
        }
      }
    })
  })
  return output
}

/**
 * The four places and weights of each new point, by Keys' kernel with a = −0.75.
 *
 * @param {number} from
 * @param {number} to
 * @returns {[number, number][][]}
 */
function tapsOf(from, to) {
  const a = -0.75
  const near = (/** @type {number} */ x) => ((a + 2) * x - (a + 3)) * x * x + 1
  const far = (/** @type {number} */ x) => ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
  return Array.from({ length: to }, (_, index) => {
    const place = ((index + 0.5) * from) / to - 0.5
    const base = Math.floor(place)
    const t = place - base
    const weights = [far(t + 1), near(t), near(1 - t), far(2 - t)]
    return weights.map((weight, tap) => [Math.min(Math.max(base - 1 + tap, 0), from - 1), weight])
  })
}
