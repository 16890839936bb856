// From tokens or pixels to the rows that enter the first layer.

import { describe, fault, isArray } from '../checks/errors.js'
import { arrayType } from '../checks/tensor.js'

/** @typedef {import('../../index.d.ts').Attention} Attention */
/** @typedef {{ data: Float32Array, shape: number[] }} Matrix */
/** A norm's parameters. @typedef {{ weight: Matrix, bias?: Matrix, epsilon: number }} Norm */
/** A weight with its bias. @typedef {{ weight: import('../../index.d.ts').Weight, bias?: Matrix }} Projection */
/**
 * Packed texts: ids and types of all tokens, and where each text starts; the last entry is the number of tokens.
 *
 * @typedef {{ ids: Int32Array, types: Int32Array, starts: Int32Array }} Packed
 */

/**
 * @param {Attention} attention
 * @param {Matrix} x
 * @param {Projection} projection
 */
export const project = (attention, x, { weight, bias }) => /** @type {Matrix} */ (attention.linear(x, weight, bias))

/** The sum of word, position and type embeddings, scaled, normalized and projected. */
export class TokenEmbeddings {
  /** @type {Matrix | undefined} */ positions
  /** @type {Matrix | undefined} */ types
  /** @type {Norm | undefined} */ norm
  /** @type {Projection | undefined} */ projection
  firstPosition = 0
  scale = 1

  /**
   * @param {Attention} attention
   * @param {import('../../index.d.ts').Weight} words
   */
  constructor(attention, words) {
    this.attention = attention
    this.words = words
  }

  /**
   * @param {Packed} packed
   * @param {number} [past]  tokens before those of each text
   * @returns {Matrix}
   */
  run({ ids, types, starts }, past = 0) {
    const [count, size] = this.words.shape
    const wrong = ids.find((id) => !(id >= 0 && id < count))
    if (wrong !== undefined) throw fault('DOMAIN', 'ids', `integers from 0 to ${count - 1}`, `${wrong}`)
    const { data } = /** @type {Matrix} */ (this.attention.embedding(this.words, ids))
    if (this.scale !== 1) for (let i = 0; i < data.length; i++) data[i] *= this.scale
    for (let text = 0; text + 1 < starts.length; text++) {
      for (let at = starts[text]; at < starts[text + 1]; at++) {
        const row = data.subarray(at * size, (at + 1) * size)
        if (this.positions) addRow(row, this.positions, this.firstPosition + past + at - starts[text], 'positions')
        if (this.types) addRow(row, this.types, types[at], 'types')
      }
    }
    let x = /** @type {Matrix} */ ({ data, shape: [ids.length, size] })
    if (this.norm) x = /** @type {Matrix} */ (this.attention.layerNorm(x, this.norm))
    return this.projection ? project(this.attention, x, this.projection) : x
  }
}

/**
 * @param {Float32Array} row
 * @param {Matrix} table
 * @param {number} index
 * @param {string} argument
 */
function addRow(row, { data, shape: [count, size] }, index, argument) {
  if (!(index >= 0 && index < count)) {
    throw fault('DOMAIN', argument, `integers from 0 to ${count - 1}`, `${index}`)
  }
  for (let i = 0; i < size; i++) row[i] += data[index * size + i]
}

/** The projected patches of an image after a class token, with their positions, normalized. */
export class PatchEmbeddings {
  /** The row before the patches, `[M]`. @type {Float32Array | undefined} */ classToken
  /** @type {Norm | undefined} */ norm
  /** True to interpolate the positions of images of another size, as DINOv2 does. */
  isResized = false

  /**
   * @param {Attention} attention
   * @param {{ weight: Matrix, bias?: Matrix }} patches  the weight is a convolution's, `[M,C,height,width]`
   * @param {Matrix} positions  `[1 + patches, M]`, or `[patches, M]` without a class token
   * @param {readonly [number, number]} imageSize  height and width
   */
  constructor(attention, { weight, bias }, positions, imageSize) {
    const [size, channels, ...kernel] = weight.shape
    const shape = [size, channels * kernel[0] * kernel[1]]
    this.attention = attention
    this.channels = channels
    this.kernel = kernel
    this.imageSize = imageSize
    this.projection = { weight: { data: weight.data, shape }, ...(bias && { bias }) }
    this.positions = positions
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
    return this.classToken ? 1 : 0
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
    const { attention, kernel, classToken } = this
    const { data: patches, shape } = attention.unfold(pixels, { kernel, stride: kernel })
    const x = project(attention, { data: /** @type {any} */ (patches), shape: shape.slice(1) }, this.projection)
    const size = x.shape[1]
    const data = new Float32Array((x.shape[0] + this.#first) * size)
    data.set(x.data, this.#first * size)
    if (classToken) data.set(classToken)
    const positions = this.#positionsOf(this.#grid(pixels.shape.slice(2)))
    for (let i = 0; i < data.length; i++) data[i] += positions[i]
    const rows = { data, shape: [data.length / size, size] }
    return this.norm ? /** @type {Matrix} */ (attention.layerNorm(rows, this.norm)) : rows
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
