// Findings of the fuzzer, each as a test: unusual arguments and their required effect.
import { createContext, runInContext } from 'node:vm'
import test from 'ava'
import { attentionHeatmap, graphPlot, poincareDisk } from '@ruvector/attention/plot'
import { createCompat } from '../../lib/compat/index.js'
import { computeStats, normalize } from '../../lib/compat/tools.js'
import { fromGraphology } from '../../lib/graphology/index.js'
import { onBothBackends } from '../support/backends.js'
import { bits, faultOf, normal } from '../support/tensors.js'

/** Type of deliberately wrong arguments. @typedef {any} Any */

const q = normal([1, 2, 3, 4], 1)

function revoked(target = {}) {
  const { proxy, revoke } = Proxy.revocable(target, {})
  revoke()
  return /** @type {Any} */ (proxy)
}

/** @template {ArrayBufferView} T @param {T} array */
function detach(array) {
  structuredClone(array.buffer, { transfer: [/** @type {ArrayBuffer} */ (array.buffer)] })
  return array
}

/** @param {import('ava').ExecutionContext} t @param {Promise<unknown>} promise */
async function rejection(t, promise) {
  const { name, code, argument } = /** @type {Any} */ (await t.throwsAsync(promise))
  return { name, code, argument }
}

test('an array beyond its memory, which was shrunk, has the statistics of an empty one', (t) => {
  const memory = new /** @type {Any} */ (ArrayBuffer)(32, { maxByteLength: 32 })
  const data = new Float32Array(memory, 16, 2)
  memory.resize(8)
  t.is(normalize(data).length, 0)
  t.deepEqual(computeStats(data), computeStats(new Float32Array(0)))
})

onBothBackends((kind, given) => {
  const attention = /** @type {Any} */ (given)
  const { scaledDotProductAttention, softmax, SelfAttention } = attention
  const expected = bits(softmax(q))

  test(`${kind}: lone surrogates in names and values of options are rejected, and are not an internal fault`, (t) => {
    t.is(faultOf(t, () => scaledDotProductAttention(q, q, q, { '\ud800': 1 })).code, 'OPTION')
    t.is(faultOf(t, () => scaledDotProductAttention(q, q, q, { layout: 'a\udfff' })).argument, 'layout')
    t.is(faultOf(t, () => new SelfAttention({ numHeads: 1, headDim: 2, '\udc00x': 1 })).code, 'OPTION')
    t.is(faultOf(t, () => attention.saveSafetensors({ '\ud800': q })).code, 'FORMAT')
    t.is(faultOf(t, () => attention.saveSafetensors({ x: q }, { a: '\ud800' })).code, 'OPTION')
    // Complete pairs are characters.
    t.deepEqual(Object.keys(attention.loadSafetensors(attention.saveSafetensors({ '😀': q }, { '😀': '😀' }))), ['😀'])
  })

  test(`${kind}: a revoked proxy is rejected everywhere`, async (t) => {
    const proxies = [revoked(), revoked([]), revoked(/** @type {Any} */ (() => {})), Object.create(revoked())]
    for (const proxy of proxies) {
      t.is(faultOf(t, () => softmax(proxy)).code, 'DTYPE')
      t.is(faultOf(t, () => softmax({ data: proxy, shape: [1] })).code, 'DTYPE')
      t.is(faultOf(t, () => softmax({ data: q.data, shape: proxy })).code, 'SHAPE')
      t.is(faultOf(t, () => scaledDotProductAttention(q, q, q, proxy)).code, 'OPTION')
      t.is(faultOf(t, () => scaledDotProductAttention(q, q, q, { mask: proxy })).code, 'DTYPE')
      if (typeof proxy === 'object') {
        t.is(faultOf(t, () => scaledDotProductAttention(q, q, q, { scale: proxy })).argument, 'scale')
      }
      const symbols = { rope_type: 'yarn', factor: Symbol('2'), mscale_all_dim: 1n }
      for (const rotary of /** @type {Any[]} */ ([proxy, { scaling: proxy }, { scaling: symbols }])) {
        const sizes = { modelDim: 4, numHeads: 1, latentRank: 2, nopeDim: 2, rotaryDim: 2, valueDim: 2 }
        t.is(faultOf(t, () => new attention.LatentAttention({ ...sizes, rotary })).code, 'OPTION')
      }
      t.is(faultOf(t, () => attention.createTensor(proxy, [1])).code, 'DTYPE')
      t.is(faultOf(t, () => attention.createPaddingMask(proxy, 3)).code, 'DTYPE')
      t.is(faultOf(t, () => attention.mergeAttention([proxy])).code, 'DTYPE')
      t.is(faultOf(t, () => attention.Graph.fromEdges({ numNodes: 1, source: proxy, target: [] })).code, 'DTYPE')
      t.is(faultOf(t, () => attention.propagate(proxy, q)).code, 'DTYPE')
      t.is(faultOf(t, () => attention.saveSafetensors(proxy)).code, 'DTYPE')
      t.is(faultOf(t, () => attention.loadSafetensors(proxy)).code, 'DTYPE')
      t.is(faultOf(t, () => fromGraphology(proxy, null)).code, 'DTYPE')
      t.is(faultOf(t, () => createCompat(attention).ruVector.createSelf(proxy)).code, 'OPTION')
      t.is(
        faultOf(t, () => createCompat(attention).ruVector.createFlash(4, 4).forward(proxy, proxy, proxy, [1])).code,
        'DTYPE'
      )
      t.is(
        (
          await rejection(
            t,
            new attention.BatchProcessor().process(proxy, () => {})
          )
        ).code,
        'OPTION'
      )
      t.is((await rejection(t, new attention.BatchProcessor().process([], proxy, proxy))).code, 'OPTION')
      const options = { signal: proxy }
      t.is((await rejection(t, attention.scaledDotProductAttentionAsync(q, q, q, options))).argument, 'signal')
    }
    t.is(bits(softmax(q)), expected)
  })

  test(`${kind}: sparse lists with billions of holes are rejected at once`, (t) => {
    const holes = new Array(2 ** 32 - 1)
    t.is(faultOf(t, () => scaledDotProductAttention(q, q, q, { window: holes })).argument, 'window')
    t.is(faultOf(t, () => attention.mergeAttention(holes)).argument, 'parts[0]')
    t.is(faultOf(t, () => attention.createTensor(holes, [2 ** 32 - 1])).code, kind === 'native' ? 'DTYPE' : 'DTYPE')
    t.is(attention.createCausalMask(2 ** 52, 0).data.length, 0)
    t.is(faultOf(t, () => attention.createPaddingMask([1], 2 ** 50)).code, 'MEMORY')
  })

  test(`${kind}: detached arrays are empty, in synchronous and asynchronous calls, and never cause an internal fault`, async (t) => {
    const gone = () => ({ data: detach(new Float32Array(24)), shape: [1, 2, 3, 4] })
    t.like(
      faultOf(t, () => softmax(gone())),
      { code: 'SHAPE', argument: 'x' }
    )
    t.is(softmax({ data: detach(new Float32Array(4)), shape: [0] }).data.length, 0)
    t.is(attention.computeStats(detach(new Float32Array(4))).min, attention.computeStats(new Float32Array(0)).min)
    const empty = { data: detach(new Float32Array(4)), shape: [1, 1, 0, 4] }
    t.is((await attention.scaledDotProductAttentionAsync(empty, empty, empty)).output.data.length, 0)
    t.is((await rejection(t, attention.scaledDotProductAttentionAsync(gone(), q, q))).code, 'SHAPE')
    t.is(faultOf(t, () => attention.loadSafetensors(detach(new Uint8Array(8)).buffer)).code, 'FORMAT')
    for (const type of /** @type {const} */ (['f16', 'bf16', 'q8_0'])) {
      t.is(attention.convert({ data: detach(new Float32Array(4)), shape: [0, 4] }, type).data.length, 0)
    }
    const lengths = detach(new Int32Array(1))
    t.is(faultOf(t, () => scaledDotProductAttention(q, q, q, { kvLengths: lengths })).argument, 'kvLengths')
    t.is(bits(softmax(q)), expected)
  })

  test(`${kind}: a block shorter than its rows leaves a small ring cache fewer keys than rows`, (t) => {
    const cache = new attention.KVCache({ kvHeads: 1, headDim: 4, capacity: 3, window: 1 })
    const block = normal([1, 1, 4, 4], 7)
    for (const length of [1, 3]) cache.append(block, block, { lengths: Int32Array.of(length) })
    const { output, weights } = cache.attend(block, { weights: true })
    t.deepEqual(weights.shape, [1, 1, 4, 3])
    const top = cache.attend(block, { topWeights: 2 })
    t.deepEqual(bits(top.output), bits(output))
    // The fourth row is not of the block: its weights are 0, and of equal ones the lower keys come first.
    t.deepEqual(top.topWeights.indices.data.slice(-2), Int32Array.of(0, 1))
    t.deepEqual(top.topWeights.values.data.slice(-2), new Float32Array(2))
    cache.dispose()
  })

  test(`${kind}: a getter that detaches an array checked before it causes a SHAPE error`, (t) => {
    const first = normal([1, 2, 3, 4], 5)
    const later = {
      get data() {
        return (detach(first.data), q.data)
      },
      shape: q.shape
    }
    t.is(faultOf(t, () => scaledDotProductAttention(first, later, q)).code, 'SHAPE')
    const part = scaledDotProductAttention(q, q, q, { logSumExp: true })
    const other = scaledDotProductAttention(q, q, q, { logSumExp: true })
    const spoiling = {
      get output() {
        return (detach(part.output.data), other.output)
      },
      logSumExp: other.logSumExp
    }
    t.is(faultOf(t, () => attention.mergeAttention([part, spoiling])).argument, 'parts[0].output')
    const rotated = new attention.CrossAttention({ numHeads: 1, headDim: 4, rotary: {} })
    const queryOffset = Int32Array.of(1)
    const x = normal([1, 3, 4], 6)
    const late = { queryOffset, get weights() { return detach(queryOffset), false } } // prettier-ignore
    t.is(faultOf(t, () => rotated.forward(x, x, late)).argument, 'queryOffset')
    const gone = { data: new Float32Array(4), get shape() { return detach(this.data), [4] } } // prettier-ignore
    t.is(faultOf(t, () => attention.convert(gone, 'f16')).code, 'SHAPE')
    const source = Int32Array.of(0, 1)
    const edges = { source, target: source, get numNodes() { return detach(source), 2 } } // prettier-ignore
    t.is(attention.Graph.fromEdges(edges).numEdges, 0)
    const state = new SelfAttention({ numHeads: 1, headDim: 2 }).stateDict()
    const names = Object.keys(state)
    const spoilt = { ...state, get [names[1]]() { return detach(state[names[0]].data), state[names[1]] } } // prettier-ignore
    t.is(faultOf(t, () => new SelfAttention({ numHeads: 1, headDim: 2 }).loadStateDict(spoilt)).code, 'SHAPE')
    t.is(bits(softmax(q)), expected)
  })

  test(`${kind}: a call made while another is being assembled disturbs neither`, async (t) => {
    let calls = 0
    const inside = () => {
      calls++
      t.is(bits(softmax(q)), expected)
    }
    const whole = scaledDotProductAttention(q, q, q).output
    const array = Object.defineProperty(q.data.slice(), 'length', { get: () => (inside(), 24) })
    const calling = { data: array, shape: q.shape }
    t.is(bits(scaledDotProductAttention(calling, calling, calling).output), bits(whole))
    t.is(bits((await attention.scaledDotProductAttentionAsync(calling, calling, calling)).output), bits(whole))
    const list = new Proxy([1], { get: (target, name) => (inside(), Reflect.get(target, name)) })
    t.is(faultOf(t, () => new attention.FlashAttention(4, { blockSize: list })).argument, 'blockSize')
    const signal = {
      get aborted() {
        return (inside(), false)
      },
      addEventListener: inside,
      removeEventListener: inside
    }
    t.is(bits((await attention.scaledDotProductAttentionAsync(q, q, q, { signal })).output), bits(whole))
    t.true(calls >= 5)
  })

  test(`${kind}: members that arrays override are ignored`, (t) => {
    const whole = bits(softmax(q))
    const lying = (/** @type {number} */ length) => ({
      data: Object.defineProperty(q.data.slice(), 'length', { value: length }),
      shape: q.shape
    })
    for (const length of [0, 3, 25, 2 ** 40, -1]) t.is(bits(softmax(lying(length))), whole)
    class Odd extends Float32Array {
      static get [Symbol.species]() {
        return /** @type {Any} */ (Float64Array)
      }
    }
    t.is(bits(softmax({ data: new Odd(q.data), shape: q.shape })), whole)
    const realm = runInContext('Float32Array', createContext({}))
    t.is(bits(softmax({ data: new realm(q.data), shape: q.shape })), whole)
    const out = new Odd(24)
    const { output } = scaledDotProductAttention(q, q, q, { out })
    t.deepEqual([...out], [...output.data])
    t.is(output.data.buffer, out.buffer)
    const shared = Object.defineProperty(q.data.slice(), 'buffer', { value: new ArrayBuffer(1) })
    const tensor = { data: shared, shape: q.shape }
    t.is(faultOf(t, () => scaledDotProductAttention(tensor, q, q, { out: shared })).argument, 'out')
    t.is(faultOf(t, () => attention.createTensor(new Proxy(q.data, {}), q.shape)).code, 'DTYPE')
    const foreign = runInContext('Int32Array.of(1)', createContext({}))
    for (const lengths of [Int32Array.of(1), foreign]) {
      t.is(faultOf(t, () => attention.createPaddingMask(new Proxy(lengths, {}), 3)).code, 'DTYPE')
    }
  })

  test(`${kind}: an engine's exception for a proxy that violates its rules passes through unchanged`, (t) => {
    const lengths = new Proxy(Object.freeze([1]), { get: () => 7 })
    t.throws(() => attention.createPaddingMask(lengths, 3), { instanceOf: TypeError, message: /on proxy/ })
    t.deepEqual([...attention.createPaddingMask(Object.freeze([1]), 3).data], [1, 0, 0])
  })

  test(`${kind}: shapes and lists with unusual lengths and methods are read entry by entry`, (t) => {
    const strange = (/** @type {unknown} */ length) =>
      new Proxy([24], { get: (target, name) => (name === 'length' ? length : Reflect.get(target, name)) })
    for (const length of [NaN, -1, 1n, 'x', Symbol('x'), undefined, 0.5]) {
      t.is(faultOf(t, () => softmax({ data: q.data, shape: strange(length) })).code, 'SHAPE')
      const list = { window: strange(length) }
      t.is(faultOf(t, () => scaledDotProductAttention(q, q, q, list)).argument, 'window')
    }
    const own = Object.assign([2.5, 1], { map: () => 3, join: undefined, [Symbol.iterator]: () => 3 })
    t.is(faultOf(t, () => softmax({ data: q.data, shape: own })).actual, '[2.5, 1]')
    const compat = createCompat(attention).ruVector.createFlash(4, 4)
    for (const dim of [Symbol('x'), 3n, '3']) {
      t.is(
        faultOf(t, () => compat.forward(q.data, q.data, q.data, /** @type {Any} */ ([1, dim, 4]), undefined)).code,
        'SHAPE'
      )
    }
  })

  test(`${kind}: empty tensors with huge other dimensions return at once`, (t) => {
    const empty = (/** @type {number[]} */ ...shape) => ({ data: new Float32Array(0), shape })
    const ends = (/** @type {() => any} */ call) => {
      try {
        return call()
      } catch (error) {
        // Some exceed what the backend can count, or what its memory could hold.
        t.regex(/** @type {Any} */ (error).code, /^(SHAPE|MEMORY)$/)
      }
    }
    const space = new attention.HyperbolicAttention({ curvature: -1 })
    const start = performance.now()
    for (const x of [
      empty(1e6, 1e6, 1000, 0),
      empty(1e9, 1e6, 0),
      empty(2 ** 40, 0),
      empty(0, 2 ** 53 - 1, 2 ** 53 - 1)
    ]) {
      ends(() => scaledDotProductAttention(x, x, x))
      ends(() => softmax(x))
      ends(() => attention.gelu(x))
      ends(() => attention.layerNorm(x))
      ends(() => attention.meanPool(x))
      ends(() => attention.rotaryEmbedding(x))
      ends(() => attention.linear(x, empty(0, x.shape[x.shape.length - 1])))
      for (const name of ['projectToBall', 'expMap0', 'logMap0']) ends(() => space[name](x))
      for (const name of ['mobiusAdd', 'expMap', 'logMap']) ends(() => space[name](x, x))
    }
    ends(() => attention.mergeAttention([{ output: empty(1, 1e9, 0, 4), logSumExp: empty(1, 1e9, 0) }]))
    t.true(performance.now() - start < 5000)
    space.dispose()
  })

  test(`${kind}: an empty tensor with dimensions beyond any address is saved and loaded`, (t) => {
    const x = { data: new Float32Array(0), shape: [2 ** 53 - 1, 0] }
    t.deepEqual(attention.loadSafetensors(attention.saveSafetensors({ x })), { x })
  })

  test(`${kind}: arrays beyond the first 4 GiB of their buffer are read and written where they are`, (t) => {
    let buffer
    try {
      // Pages that are not written take no memory.
      buffer = new ArrayBuffer(2 ** 32 + 2 ** 23)
    } catch {
      return t.pass('this engine has no such buffers')
    }
    // Large enough for WebAssembly to read it part by part.
    const [heads, length, size] = [4, 1024, 64]
    const x = { data: new Float32Array(buffer, 2 ** 32, heads * length * size), shape: [1, heads, length, size] }
    const mask = { data: new Uint8Array(buffer, 2 ** 32 + 2 ** 21, length ** 2), shape: [length, length] }
    x.data.set(normal(x.shape, 1).data)
    for (let index = 0; index < mask.data.length; index++) mask.data[index] = Number(index % 3 > 0)
    const out = new Float32Array(buffer, 2 ** 32 + 2 ** 22, x.data.length)
    const copy = (/** @type {any} */ { data, shape }) => ({ data: data.slice(), shape })
    attention.scaledDotProductAttention(x, x, x, { mask, out })
    const { output } = attention.scaledDotProductAttention(copy(x), copy(x), copy(x), { mask: copy(mask) })
    t.deepEqual(out.slice(), output.data)
  })

  // Natively these parameters have room, and 17 GB would be filled.
  if (kind === 'wasm') {
    test(`${kind}: parameters whose sum is beyond 32 bits do not fit into memory`, (t) => {
      const sizes = { inFeatures: 2 ** 15, outFeatures: 2 ** 15 }
      t.is(faultOf(t, () => new attention.GraphTransformer(sizes)).code, 'MEMORY')
    })
  }

  test(`${kind}: members of the caller's arrays are never called`, (t) => {
    const odd = { subarray: 1, slice: 1, constructor: null }
    const oddly = (/** @type {Any} */ { data, shape }) => ({ data: Object.assign(data.slice(), odd), shape })
    const [x, ids] = [normal([3, 2], 1), [2, 0]]
    t.deepEqual(attention.concat([oddly(x), oddly(x)]), attention.concat([x, x]))
    t.deepEqual(attention.embedding(oddly(x), ids), attention.embedding(x, ids))
  })

  test(`${kind}: an empty out that is transferred in the meantime does no harm`, async (t) => {
    const out = new Float32Array(0)
    const layer = new SelfAttention({ numHeads: 1, headDim: 4 })
    const call = layer.forwardAsync({ data: new Float32Array(0), shape: [1, 0, 4] }, { out })
    detach(out)
    t.is((await call).output.data.length, 0)
  })

  test(`${kind}: a batch rejects inputs with invalid iterators`, async (t) => {
    const batch = new attention.BatchProcessor()
    const job = async () => 1
    for (const iterator of [undefined, 3, {}, { next: 3 }, { next: () => 3 }]) {
      const inputs = { [Symbol.iterator]: () => iterator }
      const error = /** @type {Any} */ (await t.throwsAsync(batch.process(inputs, job)))
      t.is((error.errors?.[0] ?? error).argument, 'inputs')
    }
  })

  test(`${kind}: a caller-defined signal cannot keep a call from ending`, async (t) => {
    const call = (/** @type {object} */ signal) => attention.scaledDotProductAttentionAsync(q, q, q, { signal })
    const failing = () => {
      throw new Error('odd')
    }
    const listening = { aborted: false, addEventListener() {}, removeEventListener: failing }
    t.is((await call(listening)).output.data.length, 24)
    await t.throwsAsync(call({ ...listening, addEventListener: failing }), { message: 'odd' })
    t.is((await rejection(t, call({ aborted: false, addEventListener() {} }))).code, 'OPTION')
    let reads = 0
    const late = {
      get aborted() {
        return reads++ > 0
      },
      get reason() {
        return new Error('late')
      },
      addEventListener() {},
      removeEventListener() {}
    }
    await t.throwsAsync(call(late), { message: 'late' })
    const silent = {
      get aborted() {
        return reads++ > 0
      },
      get reason() {
        return failing()
      },
      addEventListener() {},
      removeEventListener() {}
    }
    reads = 0
    await t.throwsAsync(call(silent), { message: 'odd' })
  })
})

test('pictures reject what they cannot show, and read each entry once', (t) => {
  const weights = { data: new Float32Array(4).fill(0.5), shape: [2, 2] }
  const holes = /** @type {Any} */ (new Array(2 ** 32 - 1))
  t.is(faultOf(t, () => attentionHeatmap(weights, { queryLabels: holes })).argument, 'queryLabels')
  t.is(faultOf(t, () => attentionHeatmap(weights, { notes: holes })).argument, 'notes')
  t.is(faultOf(t, () => graphPlot({ numNodes: 2 ** 31 - 1, source: [], target: [] })).argument, 'numNodes')
  t.is(faultOf(t, () => poincareDisk(normal([0, 2], 1), { edges: holes })).argument, 'edges')
  for (const list of [revoked(), revoked([])]) {
    t.is(faultOf(t, () => attentionHeatmap(weights, { keyLabels: list })).argument, 'keyLabels')
    t.is(faultOf(t, () => graphPlot(list)).argument, 'graph')
    t.is(faultOf(t, () => poincareDisk(list)).argument, 'points')
  }
  const odd = Object.assign([0, 1], { [Symbol.iterator]: () => 3, every: 1, join: 1 })
  t.regex(attentionHeatmap(weights, { range: /** @type {Any} */ (odd) }), /<svg/)
  const data = Object.defineProperty(weights.data.slice(), 'subarray', { value: 1 })
  t.regex(attentionHeatmap({ data, shape: [2, 2] }), /<svg/)
})
