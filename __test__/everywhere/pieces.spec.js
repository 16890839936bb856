// Small pieces of models: PyTorch's numbers, broadcasting, copies in other arrangements, exact search, linear layers
// and embeddings, and every invalid input.
import test from 'ava'
import fc from 'fast-check'
import { onBothBackends } from '../support/backends.js'
import { difference, readGolden } from '../support/golden.js'
import { bits, eighths, faultOf, normal } from '../support/tensors.js'

/** @typedef {import('@ruvector/attention').Tensor} Tensor */

const golden = readGolden('torch-pieces')
/** @param {string} kind */
const casesOf = (kind) => golden.cases.filter((found) => found.kind === kind)

/** @param {readonly number[]} shape */
const count = (shape) => shape.reduce((a, b) => a * b, 1)

/**
 * The position of element `index` of `shape` in a tensor of shape `own` that is broadcast to it.
 *
 * @param {number} index
 * @param {readonly number[]} shape
 * @param {readonly number[]} own
 */
function broadcastPosition(index, shape, own) {
  let [rest, place, stride] = [index, 0, 1]
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const size = own[axis - shape.length + own.length] ?? 1
    place += size === 1 ? 0 : (rest % shape[axis]) * stride
    rest = Math.floor(rest / shape[axis])
    stride *= size
  }
  return place
}

/**
 * Ranks vectors as topK should, in doubles.
 *
 * @param {ArrayLike<number>} query
 * @param {Tensor} vectors
 * @param {string} metric
 */
function ranked(query, { data, shape: [rows, size] }, metric) {
  const measures = Array.from({ length: rows }, (_, row) => {
    let [dot, distance, a, b] = [0, 0, 0, 0]
    for (let at = 0; at < size; at++) {
      const [x, y] = [query[at], data[row * size + at]]
      dot += x * y
      distance += (x - y) ** 2
      a += x * x
      b += y * y
    }
    if (metric === 'euclidean') return Math.sqrt(distance)
    return metric === 'dot' ? dot : a * b === 0 ? 0 : dot / Math.sqrt(a * b)
  })
  const sign = metric === 'euclidean' ? 1 : -1
  const order = measures.map((_, index) => index).sort((a, b) => sign * (measures[a] - measures[b]) || a - b)
  return { measures, order }
}

onBothBackends((kind, api) => {
  for (const { name, tensors } of casesOf('activation')) {
    test(`${kind} gives PyTorch's ${name}`, (t) => {
      const activate = api[/** @type {'relu' | 'tanh' | 'sigmoid' | 'elu'} */ (name)]
      t.is(difference(activate(tensors.x), tensors.output, { absolute: 1e-9, relative: 5e-7 }), undefined)
      t.true(Number.isNaN(activate({ data: Float32Array.of(NaN), shape: [1] }).data[0]))
      t.false(activate(tensors.x).data.some((value) => Object.is(value, -0)))
    })
  }

  test(`${kind}: shapes broadcast from the right, as in NumPy`, (t) => {
    const dims = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 })
    const seeds = fc.nat()
    fc.assert(
      fc.property(dims, fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }), seeds, (shape, ones, seed) => {
        const a = eighths(
          shape.map((dim, axis) => (ones[axis] ? 1 : dim)),
          seed
        )
        const b = eighths(
          shape.map((dim, axis) => (ones[axis + 4] ? 1 : dim)).slice(seed % (shape.length + 1)),
          seed + 1
        )
        const expected = shape.map((_, axis) => {
          const sizes = [a.shape[axis], b.shape[axis - shape.length + b.shape.length] ?? 1]
          return sizes[0] === 1 ? sizes[1] : sizes[0]
        })
        const [sum, product] = [api.add(a, b), api.multiply(b, a)]
        t.deepEqual([sum.shape, product.shape], [expected, expected])
        for (let index = 0; index < count(expected); index++) {
          const x = a.data[broadcastPosition(index, expected, a.shape)]
          const y = b.data[broadcastPosition(index, expected, b.shape)]
          if (sum.data[index] !== x + y || product.data[index] !== x * y)
            t.fail(`${a.shape} and ${b.shape} at ${index}`)
        }
      }),
      { numRuns: 150 }
    )
  })

  test(`${kind}: axes are permuted as by torch.permute, and the opposite order restores the tensor`, (t) => {
    const x = normal([2, 3, 4, 5], 1)
    const turned = api.transpose(x, [3, 1, 0, -2])
    t.deepEqual(turned.shape, [5, 3, 2, 4])
    t.is(turned.data[((4 * 3 + 2) * 2 + 1) * 4 + 3], x.data[((1 * 3 + 2) * 4 + 3) * 5 + 4])
    t.is(bits(api.transpose(turned, [2, 1, 3, 0])), bits(x))
    t.is(bits(api.transpose(api.transpose(x))), bits(x))
    t.deepEqual(api.transpose(normal([3, 0, 2], 1)).shape, [3, 2, 0])
    t.deepEqual(api.transpose({ data: Float32Array.of(3), shape: [] }, []).data, Float32Array.of(3))
  })

  test(`${kind}: parts are joined along any axis`, (t) => {
    const [a, b] = [normal([2, 1, 3], 1), normal([2, 4, 3], 2)]
    const joined = api.concat([a, b, a], -2)
    t.deepEqual(joined.shape, [2, 6, 3])
    const rows = [0, 1].flatMap((part) =>
      [a, b, a].map(({ data, shape: [, n] }) => data.subarray(part * n * 3, (part + 1) * n * 3))
    )
    t.deepEqual(joined.data, Float32Array.from(rows.flatMap((row) => [...row])))
    t.deepEqual(api.concat([a]), a)
    t.deepEqual(api.concat([normal([0, 2], 1), normal([3, 2], 2)]), normal([3, 2], 2))
  })

  for (const { name, options, tensors } of casesOf('unfold')) {
    test(`${kind} gives the rows of PyTorch's unfold: ${name}`, (t) => {
      t.is(bits(api.unfold(tensors.x, options)), bits(tensors.output))
    })
  }

  test(`${kind}: a convolution is a product with the frames of its input`, (t) => {
    const [x, weight] = [normal([2, 3, 11], 1), normal([4, 3, 5], 2)]
    const frames = api.unfold(x, { kernel: 5, stride: 2, padding: 2 })
    t.deepEqual(frames.shape, [2, 6, 15])
    const output = api.linear(frames, api.reshape(weight, [4, 15]))
    let sum = 0
    // Position 1 of the first sequence reads values 0 to 4.
    for (let c = 0; c < 3; c++) for (let k = 0; k < 5; k++) sum += weight.data[(2 * 3 + c) * 5 + k] * x.data[c * 11 + k]
    t.true(Math.abs(output.data[1 * 4 + 2] - sum) < 1e-5)
  })

  test(`${kind}: topK is the head of the sorted measures, in every metric and for any number of queries`, async (t) => {
    for (const [rows, size, vectors, k] of [
      [1, 3, 1, 1],
      [2, 17, 70, 8],
      [7, 5, 66, 66],
      [40, 32, 150, 5]
    ]) {
      const [queries, table] = [normal([rows, size], rows), normal([vectors, size], size)]
      for (const metric of /** @type {const} */ (['dot', 'cosine', 'euclidean'])) {
        const { values, indices } = api.topK(queries, table, k, { metric })
        t.deepEqual(
          [values.shape, indices.shape],
          [
            [rows, k],
            [rows, k]
          ]
        )
        for (let row = 0; row < rows; row++) {
          const { measures, order } = ranked(queries.data.subarray(row * size, (row + 1) * size), table, metric)
          for (let place = 0; place < k; place++) {
            const [value, index] = [values.data[row * k + place], indices.data[row * k + place]]
            if (Math.abs(value - measures[index]) > 1e-4 || Math.abs(value - measures[order[place]]) > 1e-4) {
              t.fail(`${metric} of query ${row} at ${place}: ${index} for ${order[place]}`)
            }
          }
        }
        const later = await api.topKAsync(queries, table, k, { metric })
        t.is(bits(later.values), bits(values))
        t.deepEqual(later.indices, indices)
      }
    }
    const signal = AbortSignal.abort()
    t.is(
      await api.topKAsync(normal([1, 2], 1), normal([3, 2], 2), 1, { signal }).catch((error) => error),
      signal.reason
    )
  })

  test(`${kind}: equal measures are ordered by index, and a query without leading dimensions has one list`, (t) => {
    const vectors = { data: Float32Array.from({ length: 300 }, (_, index) => index % 3), shape: [300, 1] }
    const { values, indices } = api.topK({ data: Float32Array.of(1), shape: [1] }, vectors, 4)
    t.deepEqual([values.shape, [...values.data], [...indices.data]], [[4], [2, 2, 2, 2], [2, 5, 8, 11]])
    const near = api.topK({ data: Float32Array.of(0, 9), shape: [2, 1] }, vectors, 2, { metric: 'euclidean' })
    t.deepEqual(
      [[...near.values.data], [...near.indices.data]],
      [
        [0, 0, 7, 7],
        [0, 3, 2, 5]
      ]
    )
    const zeros = { data: new Float32Array(2), shape: [1, 2] }
    t.is(api.topK(normal([1, 2], 1), zeros, 1, { metric: 'cosine' }).values.data[0], 0)
  })

  for (const { name, kind: layer, config, tensors } of [...casesOf('Linear'), ...casesOf('Embedding')]) {
    test(`${kind}: parameters of a seed are PyTorch's: ${name}`, (t) => {
      const made = layer === 'Linear' ? new api.Linear(config) : new api.Embedding(config)
      const state = made.stateDict()
      t.deepEqual(Object.keys(state), ['weight', ...(tensors.bias ? ['bias'] : [])])
      for (const [key, expected] of Object.entries(tensors)) {
        const tolerance = layer === 'Linear' ? 0 : 3e-6
        t.is(difference(state[key], expected, { absolute: tolerance }), undefined)
      }
      t.is(
        made.numParameters,
        Object.values(tensors).reduce((sum, { shape }) => sum + count(shape), 0)
      )
      t.deepEqual({ ...made.config }, { weightType: 'f32', ...config })
    })
  }

  test(`${kind}: Linear is linear with its own parameters, and loads others under a prefix`, async (t) => {
    const layer = new api.Linear({ inFeatures: 6, outFeatures: 4, seed: 3 })
    const x = normal([2, 3, 6], 1)
    const { weight, bias } = layer.stateDict()
    t.is(bits(layer.forward(x)), bits(api.linear(x, weight, bias)))
    t.is(bits(await layer.forwardAsync(x)), bits(layer.forward(x)))
    const other = { 'head.weight': normal([4, 6], 5), 'head.bias': normal([4], 6), other: normal([1], 7) }
    t.is(layer.loadStateDict(other, { prefix: 'head' }), layer)
    t.is(bits(layer.forward(x)), bits(api.linear(x, other['head.weight'], other['head.bias'])))
    t.is(bits(await layer.train().forwardAsync(x)), bits(layer.forward(x)))
    t.like(
      faultOf(t, () => layer.loadStateDict({ weight })),
      { code: 'FORMAT', argument: 'bias' }
    )
    t.like(
      faultOf(t, () => layer.loadStateDict({ weight: bias, bias })),
      { code: 'SHAPE', argument: 'weight' }
    )
    t.like(
      faultOf(t, () => layer.loadStateDict({ weight, bias, scale: bias })),
      { code: 'FORMAT', argument: 'scale' }
    )
    layer.dispose()
    t.is(faultOf(t, () => layer.forward(x)).code, 'DISPOSED')
  })

  test(`${kind}: a getter of the ids that detaches the table is answered as a table of the wrong length`, (t) => {
    const detaching = (/** @type {ArrayBufferView} */ array) => ({
      data: new Int32Array(2),
      get shape() {
        structuredClone(array, { transfer: [/** @type {ArrayBuffer} */ (array.buffer)] })
        return [2]
      }
    })
    const whole = normal([4, 4], 1)
    t.like(
      faultOf(t, () => api.embedding(whole, detaching(whole.data))),
      { code: 'SHAPE', argument: 'table' }
    )
    const eights = { type: /** @type {const} */ ('q8_0'), data: new Int8Array(16), scales: new Uint16Array(4) }
    const table = { ...eights, shape: [4, 4] }
    t.like(
      faultOf(t, () => api.embedding(table, detaching(eights.scales))),
      { code: 'SHAPE', argument: 'table.scales' }
    )
    const empty = { data: new Float32Array(0), shape: [4, 0] }
    t.deepEqual(api.embedding(empty, detaching(empty.data)), { data: new Float32Array(0), shape: [2, 0] })
  })

  test(`${kind}: an embedding copies rows for ids in every form`, async (t) => {
    const layer = new api.Embedding({ numEmbeddings: 5, embeddingDim: 3, seed: 1 })
    const { weight } = layer.stateDict()
    const row = (/** @type {number} */ id) => [...weight.data.subarray(id * 3, id * 3 + 3)]
    const ids = { data: Int32Array.of(4, 0, 4, 2), shape: [2, 2] }
    const expected = Float32Array.from([...row(4), ...row(0), ...row(4), ...row(2)])
    for (const found of [api.embedding(weight, ids), layer.forward(ids), await layer.forwardAsync(ids)]) {
      t.deepEqual(found, { data: expected, shape: [2, 2, 3] })
    }
    for (const list of [
      [4, 0, 4, 2],
      Uint8Array.of(4, 0, 4, 2),
      BigInt64Array.of(4n, 0n, 4n, 2n),
      { ...[4, 0, 4, 2], length: 4 }
    ]) {
      t.deepEqual(api.embedding(weight, /** @type {any} */ (list)), { data: expected, shape: [4, 3] })
      t.deepEqual(layer.forward(/** @type {any} */ (list)), { data: expected, shape: [4, 3] })
    }
    t.deepEqual(layer.forward([]).shape, [0, 3])
  })

  test(`${kind}: invalid input of the small pieces is an error that names it`, (t) => {
    const { Linear, Embedding } = api
    const [x, table] = [normal([2, 3], 1), normal([4, 3], 2)]
    const layer = new Embedding({ numEmbeddings: 4, embeddingDim: 2 })
    const any = /** @type {any} */ (api)
    /** @type {[() => unknown, string, string][]} */
    const cases = [
      [() => api.add(x, normal([2], 1)), 'SHAPE', 'b'],
      [() => any.add(x), 'DTYPE', 'b'],
      [() => any.multiply(x, x, 3), 'OPTION', 'multiply'],
      [() => any.relu([1]), 'DTYPE', 'x'],
      [() => any.elu(x, { alpha: 2 }), 'OPTION', 'elu'],
      [() => api.transpose(normal([3], 1)), 'SHAPE', 'x'],
      [() => api.transpose(x, [0]), 'OPTION', 'order'],
      [() => api.transpose(x, [0, 0]), 'OPTION', 'order'],
      [() => api.transpose(x, [0, 2]), 'OPTION', 'order[1]'],
      [() => api.concat([]), 'OPTION', 'parts'],
      [() => api.concat([x, table], 1), 'SHAPE', 'parts[1]'],
      [() => api.concat([x, x], 2), 'OPTION', 'axis'],
      [() => any.concat([x, 1]), 'DTYPE', 'parts[1]'],
      [() => any.unfold(normal([1, 1, 4], 1)), 'OPTION', 'kernel'],
      [() => api.unfold(normal([1, 1, 4], 1), { kernel: 5 }), 'OPTION', 'kernel'],
      [() => api.unfold(normal([1, 1, 4], 1), { kernel: [2, 2] }), 'OPTION', 'kernel'],
      [() => api.unfold(normal([1, 1, 4], 1), { kernel: 2, stride: 0 }), 'OPTION', 'stride'],
      [() => any.unfold(normal([1, 1, 4], 1), { kernel: 2, dilation: 2 }), 'OPTION', 'dilation'],
      [() => api.unfold(x, { kernel: 2 }), 'SHAPE', 'x'],
      [() => api.unfold(normal([1, 1, 4], 1), { kernel: 2, padding: 2 ** 50 }), 'MEMORY', 'output'],
      [() => api.embedding(table, [4]), 'OPTION', 'ids[0]'],
      [() => api.embedding(table, [0, -1]), 'OPTION', 'ids[1]'],
      [() => api.embedding(table, [0.5]), 'OPTION', 'ids[0]'],
      [() => any.embedding(table, 'x'), 'DTYPE', 'ids'],
      [() => api.embedding(normal([3], 1), [0]), 'SHAPE', 'table'],
      [() => api.topK(x, table, 5), 'OPTION', 'k'],
      [() => api.topK(x, table, 0), 'OPTION', 'k'],
      [() => api.topK(x, table, 1.5), 'OPTION', 'k'],
      [() => any.topK(x, table), 'OPTION', 'k'],
      [() => api.topK(normal([2, 2], 1), table, 1), 'SHAPE', 'queries'],
      [() => api.topK(x, normal([4], 1), 1), 'SHAPE', 'vectors'],
      [() => any.topK(x, table, 1, { metric: 'l2' }), 'OPTION', 'metric'],
      [() => any.topK(x, table, 1, { k: 1 }), 'OPTION', 'k'],
      [() => any.topK(x, table, 1, { metrics: 'dot' }), 'OPTION', 'metrics'],
      [() => new Linear(/** @type {any} */ ({ inFeatures: 2 })), 'OPTION', 'outFeatures'],
      [() => new Linear({ inFeatures: 2, outFeatures: 0 }), 'OPTION', 'outFeatures'],
      [() => new Linear(/** @type {any} */ ({ inFeatures: 2, outFeatures: 2, bias: true })), 'OPTION', 'bias'],
      [() => new Embedding(/** @type {any} */ ({ numEmbeddings: 2 })), 'OPTION', 'embeddingDim'],
      [() => new Linear({ inFeatures: 2, outFeatures: 2 }).forward(x), 'SHAPE', 'x'],
      [() => layer.forward([4]), 'OPTION', 'ids[0]'],
      [() => layer.forward([-1]), 'OPTION', 'ids[0]'],
      [() => layer.loadStateDict({ weight: x }), 'SHAPE', 'weight']
    ]
    for (const [call, code, argument] of cases) t.like(faultOf(t, call), { code, argument }, call.toString())
  })
})
