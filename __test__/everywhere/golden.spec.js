// Compares both backends with PyTorch and ONNX, on golden data made by scripts/golden.
import test from 'ava'
import { onBothBackends } from '../support/backends.js'
import { difference, readGolden } from '../support/golden.js'

/** @typedef {import('../support/golden.js').Case} Case */
/** @typedef {import('@ruvector/attention').Attention} Attention */

/** Tolerance for a 64-bit reference rounded to 32 bits; the relative part is for log-sum-exp and scores far from 1. */
const tolerance = { absolute: 1e-5, relative: 2e-6 }
const stages = /** @type {const} */ (['scores', 'softcapped', 'biased', 'weights'])

/** @param {Case} golden */
function optionsOf({ options, tensors }) {
  const { kvLengths, queryOffset, ...rest } = options
  return {
    ...rest,
    ...(kvLengths && { kvLengths: Int32Array.from(kvLengths) }),
    ...(queryOffset !== undefined && {
      queryOffset: Array.isArray(queryOffset) ? Int32Array.from(queryOffset) : queryOffset
    }),
    ...(tensors.mask && { mask: tensors.mask })
  }
}

/** The source of each golden file, for test titles. */
const sources = /** @type {Record<string, string>} */ ({
  'torch-sdpa': 'scaled_dot_product_attention of PyTorch',
  'onnx-attention': 'Attention of ONNX',
  'torch-layers': 'PyTorch'
})

/**
 * Adds one test per case and backend.
 * @param {string} file
 * @param {(t: import('ava').ExecutionContext, attention: Attention, golden: Case) => void} check
 * @param {(golden: Case) => boolean} [chosen]
 */
function eachCase(file, check, chosen = () => true) {
  const { cases } = readGolden(file)
  const mine = cases.filter(chosen)
  onBothBackends((kind, attention) => {
    for (const golden of mine)
      test(`${kind} gives what ${sources[file]} gives: ${golden.name}`, (t) => check(t, attention, golden))
  })
}

/**
 * @param {import('ava').ExecutionContext} t
 * @param {string} what
 * @param {any} actual
 * @param {any} expected
 */
function close(t, what, actual, expected, allowed = tolerance) {
  const problem = difference(actual, expected, allowed)
  t.is(problem && `${what} ${problem}`, undefined)
}

/** @type {(t: import('ava').ExecutionContext, attention: Attention, golden: Case) => void} */
function checkAttention(t, attention, golden) {
  const { q, k, v, output, weights, logSumExp, ...others } = golden.tensors
  const options = optionsOf(golden)
  /** @type {any} */
  const asked = { ...options, weights: weights !== undefined, logSumExp: logSumExp !== undefined }
  const result = attention.scaledDotProductAttention(q, k, v, asked)
  close(t, 'output', result.output, output)
  if (weights) close(t, 'weights', result.weights, weights)
  if (logSumExp) close(t, 'logSumExp', result.logSumExp, logSumExp)
  for (const stage of stages) {
    const expected = others[`stage.${stage}`]
    if (expected) close(t, `stage ${stage}`, attention.attentionWeights(q, k, { ...options, stage }), expected)
  }
  if (weights) close(t, 'attentionWeights', attention.attentionWeights(q, k, options), weights)
  t.is(/** @type {unknown} */ (attention.scaledDotProductAttention(q, k, v, options).weights), undefined)
}

eachCase('torch-sdpa', checkAttention)
eachCase('onnx-attention', checkAttention)

const ofKind = (/** @type {string} */ kind) => (/** @type {Case} */ golden) => golden.kind === kind
const stateOf = (/** @type {Case} */ { tensors }) =>
  Object.fromEntries(
    Object.entries(tensors)
      .filter(([name]) => name.startsWith('state.'))
      .map(([name, tensor]) => [name.slice('state.'.length), tensor])
  )
const bitsOf = (/** @type {Float32Array} */ { buffer, byteOffset, length }) => [
  ...new Uint32Array(buffer, byteOffset, length)
]

eachCase(
  'torch-layers',
  (t, { MultiHeadAttention }, golden) => {
    const layer = new MultiHeadAttention(golden.config)
    const [state, expected] = [layer.stateDict(), stateOf(golden)]
    t.deepEqual(Object.keys(state), golden.order)
    for (const [name, { data, shape }] of Object.entries(expected)) {
      t.deepEqual(state[name]?.shape, shape, name)
      t.deepEqual(bitsOf(state[name].data), bitsOf(data), `${name} is PyTorch's to the bit`)
    }
    t.is(
      layer.numParameters,
      Object.values(expected).reduce((sum, { data }) => sum + data.length, 0)
    )
    layer.dispose()
  },
  ofKind('initial')
)

eachCase(
  'torch-layers',
  (t, { MultiHeadAttention }, golden) => {
    const { q, k, v, output, weights, averageWeights } = golden.tensors
    const options = optionsOf(golden)
    const layer = new MultiHeadAttention(golden.config).loadStateDict(stateOf(golden))
    close(t, 'output', layer.forward(q, k, v, options).output, output)
    const perHead = layer.forward(q, k, v, { ...options, weights: true })
    close(t, 'output beside weights', perHead.output, output)
    close(t, 'weights', perHead.weights, weights)
    close(t, 'mean weights', layer.forward(q, k, v, { ...options, averageWeights: true }).weights, averageWeights)
    layer.dispose()
  },
  ofKind('forward')
)

eachCase(
  'torch-layers',
  (t, { linear }, { tensors: { x, weight, bias, output } }) => close(t, 'output', linear(x, weight, bias), output),
  ofKind('linear')
)
eachCase(
  'torch-layers',
  (t, { softmax }, { tensors: { x, output } }) => close(t, 'output', softmax(x), output),
  ofKind('softmax')
)

onBothBackends((kind, { loadSafetensors, saveSafetensors }) => {
  test(`${kind}: loadSafetensors reads 32-bit tensors bit for bit`, (t) => {
    const { bytes, tensors } = readGolden('halves')
    const state = loadSafetensors(bytes)
    t.deepEqual(Object.keys(state).sort(), Object.keys(tensors).sort())
    for (const [name, { data, shape }] of Object.entries(tensors)) {
      t.deepEqual(state[name].shape, shape, name)
      if (data instanceof Float32Array) t.deepEqual(bitsOf(state[name].data), bitsOf(data), name)
    }
  })

  test(`${kind}: loadSafetensors reads booleans of a PyTorch file as bytes`, (t) => {
    const { bytes, tensors } = readGolden('torch-layers')
    const booleans = Object.entries(tensors).filter(([, { data }]) => data instanceof Uint8Array)
    t.true(booleans.length > 0)
    const state = loadSafetensors(bytes)
    for (const [name, tensor] of booleans) t.deepEqual(/** @type {unknown} */ (state[name]), tensor)
  })

  for (const dtype of ['f16', 'bf16']) {
    test(`${kind}: loadSafetensors converts ${dtype} like PyTorch, including denormals, infinities and signed zeros`, (t) => {
      const { bytes, tensors } = readGolden('halves')
      const { data } = loadSafetensors(bytes)[dtype]
      const expected = tensors[`${dtype}.widened`].data
      t.is(data.length, expected.length)
      t.deepEqual([...data], [...expected])
      t.deepEqual(
        [...data].map((value) => Object.is(value, -0)),
        [...expected].map((value) => Object.is(value, -0))
      )
    })
  }

  test(`${kind}: loadSafetensors reads a half-precision scalar and a half-precision tensor without elements`, (t) => {
    const { 'bf16.scalar': scalar, 'f16.none': none } = loadSafetensors(readGolden('halves').bytes)
    t.deepEqual(scalar, { data: Float32Array.of(1.5), shape: [] })
    t.deepEqual(none, { data: new Float32Array(0), shape: [0, 3] })
  })

  test(`${kind}: saveSafetensors writes a file that an independent reader can read`, (t) => {
    const { tensors } = readGolden('halves')
    const saved = saveSafetensors(
      { f32: tensors.f32, empty: { data: new Float32Array(0), shape: [2, 0] } },
      { made: 'here' }
    )
    const start = 8 + Number(new DataView(saved.buffer, saved.byteOffset).getBigUint64(0, true))
    const header = JSON.parse(new TextDecoder().decode(saved.subarray(8, start)))
    t.deepEqual(header.__metadata__, { made: 'here' })
    t.deepEqual(header.empty.shape, [2, 0])
    t.deepEqual({ dtype: header.f32.dtype, shape: header.f32.shape }, { dtype: 'F32', shape: [10] })
    const [from, to] = header.f32.data_offsets
    t.deepEqual(bitsOf(new Float32Array(saved.slice(start + from, start + to).buffer)), bitsOf(tensors.f32.data))
  })
})
