// Recurrent linear attention: ONNX's numbers, any split of a sequence, grouped heads, both layouts, and every invalid
// input.
import test from 'ava'
import fc from 'fast-check'
import { loadBackend } from '@ruvector/attention'
import { backends, onBothBackends } from '../support/backends.js'
import { difference, readGolden } from '../support/golden.js'
import { bits, close, faultOf, normal, random, requireClose } from '../support/tensors.js'

/** @typedef {import('@ruvector/attention').LinearConfig} LinearConfig */
/** @typedef {import('@ruvector/attention').LinearStepOptions} LinearStepOptions */
/** @typedef {import('@ruvector/attention').Tensor} Tensor */
/** Type of deliberately wrong arguments. @typedef {any} Any */

const golden = readGolden('onnx-linear-attention')

/** @type {readonly ('linear' | 'gated' | 'delta' | 'gated_delta')[]} */
const rules = ['linear', 'gated', 'delta', 'gated_delta']

const one = (/** @type {number} */ min, /** @type {number} */ max) => fc.integer({ min, max })

const calls = fc.record({
  rule: fc.constantFrom(...rules),
  batch: one(1, 2),
  kvHeads: one(1, 2),
  group: one(1, 3),
  length: fc.oneof(one(0, 9), one(60, 140)),
  size: one(1, 17),
  valueDim: one(1, 33),
  /** True for a decay of each row of the state. */
  byRow: fc.boolean(),
  /** True for one beta for all heads. */
  sharesBeta: fc.boolean(),
  /** The largest absolute decay. */
  decay: fc.constantFrom(0.001, 0.1, 8),
  seed: one(0, 1e6)
})

/** @typedef {typeof calls extends fc.Arbitrary<infer Call> ? Call : never} Drawn */

/**
 * A call with 3-D inputs.
 *
 * @param {Drawn} drawn
 * @returns {{ config: LinearConfig, inputs: [Tensor, Tensor, Tensor], gates: { decay?: Tensor, beta?: Tensor }, state:
 *   Tensor }}
 */
function callOf({ rule, batch, kvHeads, group, length, size, valueDim, byRow, sharesBeta, decay, seed }) {
  const width = (/** @type {number} */ columns, /** @type {number} */ salt) =>
    normal([batch, length, columns], seed + salt)
  const k = width(kvHeads * size, 1)
  // The delta rules need keys of length 1 to stay bounded.
  for (let from = 0; from < k.data.length; from += size) {
    const key = k.data.subarray(from, from + size)
    const norm = Math.max(Math.hypot(...key), 1e-3)
    key.forEach((x, index) => (key[index] = x / norm))
  }
  const uniform = (/** @type {number} */ columns, /** @type {number} */ factor) => ({
    data: Float32Array.from({ length: batch * length * columns }, random(seed + columns)).map((x) => factor * x),
    shape: [batch, length, columns]
  })
  return {
    config: { modelDim: kvHeads * group * size, numHeads: kvHeads * group, kvHeads, rule },
    inputs: [width(kvHeads * group * size, 0), k, width(kvHeads * valueDim, 2)],
    gates: {
      ...(rule.startsWith('gated') && { decay: uniform(byRow ? kvHeads * size : kvHeads, -decay) }),
      ...(rule.endsWith('delta') && { beta: uniform(sharesBeta ? 1 : kvHeads, 1) })
    },
    state: normal([batch, kvHeads, size, valueDim], seed + 3)
  }
}

/**
 * The positions from `start` to `end` of a 3-D tensor.
 *
 * @param {Tensor} tensor
 * @param {number} start
 * @param {number} end
 */
function part({ data, shape: [batch, length, width] }, start, end) {
  const rows = Array.from({ length: batch }, (_, b) => [
    ...data.subarray((b * length + start) * width, (b * length + end) * width)
  ])
  return { data: Float32Array.from(rows.flat()), shape: [batch, end - start, width] }
}

/** @param {Record<string, Tensor>} gates @param {number} start @param {number} end */
const partOfEach = (gates, start, end) =>
  Object.fromEntries(Object.entries(gates).map(([name, gate]) => [name, part(gate, start, end)]))

/**
 * `[B, L, heads·size]` as `[B, heads, L, size]`, or without the last dimension if that is 1.
 *
 * @param {Tensor} tensor
 * @param {number} heads
 * @param {boolean} [isGate]
 */
function apart({ data, shape: [batch, length, width] }, heads, isGate = false) {
  const size = width / heads
  const moved = new Float32Array(data.length)
  for (let b = 0; b < batch; b++) {
    for (let t = 0; t < length; t++) {
      for (let h = 0; h < heads; h++) {
        const from = (b * length + t) * width + h * size
        moved.set(data.subarray(from, from + size), ((b * heads + h) * length + t) * size)
      }
    }
  }
  return { data: moved, shape: isGate && size === 1 ? [batch, heads, length] : [batch, heads, length, size] }
}

const largest = (/** @type {Tensor} */ { data }) => data.reduce((most, x) => Math.max(most, Math.abs(x)), 1)

onBothBackends((kind, attention) => {
  const { LinearAttention } = attention

  for (const { name, config, tolerance, tensors } of golden.cases) {
    test(`${kind} gives the results of ONNX's LinearAttention: ${name}`, (t) => {
      const { q, k, v, decay, beta, state, output, newState } = tensors
      const linear = new LinearAttention(config)
      const found = linear.forward(q, k, v, { decay, beta, state, returnState: true })
      t.is(difference(found.output, output, { absolute: tolerance, relative: tolerance }), undefined)
      t.is(difference(found.state, newState, { absolute: tolerance, relative: tolerance }), undefined)
      linear.dispose()
    })
  }

  test(`${kind}: any split of a sequence into calls or steps gives the same`, (t) => {
    const steps = fc.array(one(1, 70), { minLength: 1, maxLength: 3 })
    const property = fc.property(calls, steps, (drawn, sizes) => {
      const { config, inputs, gates, state } = callOf(drawn)
      const linear = new LinearAttention(config)
      const whole = linear.forward(...inputs, { ...gates, state, returnState: true })
      const stream = linear.stream({ batch: drawn.batch, valueDim: drawn.valueDim })
      let last = state
      for (let from = 0, n = 0; from < drawn.length; n++) {
        const to = Math.min(drawn.length, from + sizes[n % sizes.length])
        const [q, k, v] = inputs.map((tensor) => part(tensor, from, to))
        const given = partOfEach(/** @type {Record<string, Tensor>} */ (gates), from, to)
        const call = linear.forward(q, k, v, { ...given, state: last, returnState: true })
        const step = stream.step(q, k, v, { ...given, ...(from === 0 && { state }), returnState: true })
        const expected = part(whole.output, from, to)
        const tolerance = 1e-5 * largest(whole.output)
        requireClose(call.output, expected, tolerance, `call from ${from}`)
        requireClose(step.output, expected, tolerance, `step from ${from}`)
        requireClose(step.state, call.state, 1e-5 * largest(whole.state), `state from ${from}`)
        last = call.state
        from = to
      }
      requireClose(last, whole.state, 1e-5 * largest(whole.state), 'last state')
      stream.dispose()
      linear.dispose()
    })
    t.notThrows(() => fc.assert(property, { numRuns: 50, includeErrorInReport: true }))
  })

  test(`${kind}: grouped heads and four dimensions give what repeated heads and three dimensions give`, (t) => {
    const property = fc.property(calls, (drawn) => {
      const { config, inputs, gates, state } = callOf(drawn)
      const { kvHeads, group } = drawn
      const heads = kvHeads * group
      const linear = new LinearAttention(config)
      const joined = linear.forward(...inputs, { ...gates, state, returnState: true })
      const [q, k, v] = inputs.map((tensor, index) => apart(tensor, index === 0 ? heads : kvHeads))
      const { decay, beta } = gates
      const given = {
        ...(decay && { decay: apart(decay, kvHeads, true) }),
        ...(beta && { beta: apart(beta, drawn.sharesBeta ? 1 : kvHeads, true) })
      }
      const separate = linear.forward(q, k, v, { ...given, state, returnState: true })
      t.is(bits(separate.output), bits(apart(joined.output, heads)))
      t.is(bits(separate.state), bits(joined.state))

      /** @param {Tensor} tensor */
      const repeat = ({ data, shape: [batch, , ...rest] }) => {
        const size = rest.reduce((a, b) => a * b, 1)
        const rows = Array.from({ length: batch * heads }, (_, row) => {
          const from = Math.floor(row / group) * size
          return [...data.subarray(from, from + size)]
        })
        return { data: Float32Array.from(rows.flat()), shape: [batch, heads, ...rest] }
      }
      const single = {
        ...(given.decay && { decay: repeat(given.decay) }),
        ...(given.beta && { beta: drawn.sharesBeta ? given.beta : repeat(given.beta) }),
        state: repeat(state)
      }
      const repeated = linear.forward(q, repeat(k), repeat(v), single)
      requireClose(repeated.output, separate.output, 1e-6 * largest(joined.output), 'repeated heads')
      linear.dispose()
    })
    t.notThrows(() => fc.assert(property, { numRuns: 30, includeErrorInReport: true }))
  })

  test(`${kind}: the state decays to nothing at −∞, and NaN reaches no earlier position`, (t) => {
    for (const byRow of [false, true]) {
      const drawn = { rule: rules[3], batch: 1, kvHeads: 1, group: 1, length: 100, size: 5, valueDim: 3, byRow }
      const { config, inputs, gates } = callOf({ ...drawn, sharesBeta: false, decay: 0.1, seed: 3 })
      const linear = new LinearAttention(config)
      const { decay, beta } = /** @type {{ decay: Tensor, beta: Tensor }} */ (gates)
      const before = linear.forward(...inputs, { decay, beta }).output
      const width = decay.shape[2]
      decay.data.fill(-Infinity, 40 * width, 41 * width)
      const whole = linear.forward(...inputs, { decay, beta })
      const [q, k, v] = inputs.map((tensor) => part(tensor, 40, 100))
      const alone = linear.forward(q, k, v, partOfEach({ decay, beta }, 40, 100))
      close(t, part(whole.output, 40, 100), alone.output, 1e-5)
      close(t, part(whole.output, 0, 40), part(before, 0, 40), 1e-5)
      inputs[2].data[70 * 3] = NaN
      const spoiled = linear.forward(...inputs, { decay, beta }).output
      close(t, part(spoiled, 0, 70), part(whole.output, 0, 70), 1e-5)
      t.true(Number.isNaN(spoiled.data[70 * 3]))
      linear.dispose()
    }
  })

  test(`${kind}: results are the same every time, on any number of threads, in out, and from another thread`, async (t) => {
    const drawn = { rule: rules[3], batch: 2, kvHeads: 2, group: 1, length: 700, size: 32, valueDim: 32, byRow: false }
    const { config, inputs, gates } = callOf({ ...drawn, sharesBeta: false, decay: 0.1, seed: 3 })
    const linear = new LinearAttention(config)
    const options = /** @type {const} */ ({ ...gates, returnState: true })
    const first = linear.forward(...inputs, options)
    const out = new Float32Array(first.output.data.length)
    t.is(linear.forward(...inputs, { ...options, out }).output.data, out)
    const later = await linear.forwardAsync(...inputs, options)
    const { LinearAttention: Threaded } = await loadBackend(kind, { threads: 3 })
    const threaded = new Threaded(config)
    for (const found of [later, threaded.forward(...inputs, options), { output: { ...first.output, data: out } }]) {
      t.is(bits(found.output), bits(first.output))
    }
    t.is(bits(later.state), bits(first.state))
    threaded.dispose()
    linear.dispose()
  })

  test(`${kind}: sizes of 0 give empty results, and keep the state`, (t) => {
    const linear = new LinearAttention({ modelDim: 6, numHeads: 2, kvHeads: 1, rule: 'gated' })
    const state = normal([2, 1, 3, 4], 5)
    const empty = (/** @type {number[]} */ ...shape) => ({ data: new Float32Array(0), shape })
    const found = linear.forward(empty(2, 0, 6), empty(2, 0, 3), empty(2, 0, 4), {
      decay: empty(2, 0, 1),
      state,
      returnState: true
    })
    t.deepEqual(found.output.shape, [2, 0, 8])
    t.is(bits(found.state), bits(state))
    const none = linear.forward(normal([1, 3, 6], 1), normal([1, 3, 3], 2), empty(1, 3, 0), {
      decay: normal([1, 3, 3], 3),
      returnState: true
    })
    t.deepEqual(
      [none.output.shape, none.state.shape],
      [
        [1, 3, 0],
        [1, 1, 3, 0]
      ]
    )
    linear.dispose()
  })

  test(`${kind}: the configuration has the options of its rule alone`, (t) => {
    const linear = new LinearAttention({ modelDim: 8, numHeads: 4, kvHeads: 2, rule: 'delta' })
    t.like(linear.config, { modelDim: 8, numHeads: 4, kvHeads: 2, rule: 'delta' })
    t.false('featureMap' in linear.config)
    t.is(linear.featureDim, 2)
    /** @type {[Any, string][]} */
    const cases = [
      [{ rule: 'gateddelta' }, 'rule'],
      [{ rule: 'delta', featureMap: 'elu' }, 'featureMap'],
      [{ rule: 'delta', featureDim: 2 }, 'featureDim'],
      [{ rule: 'delta', seed: 3 }, 'seed'],
      [{ rule: 'delta', kvHeads: 3 }, 'kvHeads'],
      [{ rule: 'delta', kvHeads: 0 }, 'kvHeads'],
      [{ rule: 'delta', scale: Infinity }, 'scale'],
      [{ kvHeads: 2 }, 'kvHeads'],
      [{ rule: 'kernel', scale: 1 }, 'scale']
    ]
    for (const [config, argument] of cases) {
      const fault = faultOf(t, () => new LinearAttention({ modelDim: 8, numHeads: 4, ...config }))
      t.like(fault, { code: 'OPTION', argument })
    }
    linear.dispose()
  })

  test(`${kind}: invalid input of a recurrent rule is an error that names it, and the stream stays as it was`, (t) => {
    const linear = new LinearAttention({ modelDim: 8, numHeads: 4, kvHeads: 2, rule: 'gated_delta' })
    const kernel = new LinearAttention({ modelDim: 8, numHeads: 4 })
    const stream = linear.stream({ valueDim: 3 })
    const [q, k, v] = [normal([1, 5, 8], 1), normal([1, 5, 4], 2), normal([1, 5, 6], 3)]
    const gates = { decay: normal([1, 5, 2], 4), beta: normal([1, 5, 2], 5) }
    const shape = (/** @type {number[]} */ ...sizes) => normal(sizes, 6)
    const [q4, k4, v4] = [shape(1, 4, 5, 2), shape(1, 2, 5, 2), shape(1, 2, 5, 3)]
    const first = stream.step(q, k, v, { ...gates, returnState: true })
    /** @type {[Any[], Any, string, string][]} */
    const cases = [
      [[shape(1, 5, 6), k, v], gates, 'SHAPE', 'q'],
      [[q, shape(1, 5, 8), v], gates, 'SHAPE', 'k'],
      [[q, shape(1, 4, 4), v], gates, 'SHAPE', 'k'],
      [[q, k4, v], gates, 'SHAPE', 'k'],
      [[q, k, shape(1, 5, 7)], gates, 'SHAPE', 'v'],
      [[q, k, shape(1, 4, 6)], gates, 'SHAPE', 'v'],
      [[q4, shape(1, 3, 5, 2), v4], gates, 'SHAPE', 'k'],
      [[q4, k4, shape(1, 4, 5, 3)], gates, 'SHAPE', 'v'],
      [[q4, k4, v4], gates, 'SHAPE', 'decay'],
      [[q4, k4, v4], { ...gates, decay: shape(1, 2, 5, 2) }, 'SHAPE', 'beta'],
      [[q, k, v], { beta: gates.beta }, 'OPTION', 'decay'],
      [[q, k, v], { decay: gates.decay }, 'OPTION', 'beta'],
      [[q, k, v], { ...gates, decay: shape(1, 5, 1) }, 'SHAPE', 'decay'],
      [[q, k, v], { ...gates, decay: shape(1, 5, 8) }, 'SHAPE', 'decay'],
      [[q, k, v], { ...gates, decay: gates.decay.data }, 'DTYPE', 'decay'],
      [[q, k, v], { ...gates, beta: shape(1, 5, 4) }, 'SHAPE', 'beta'],
      [[q, k, v], { ...gates, state: shape(1, 2, 3, 2) }, 'SHAPE', 'state'],
      [[q, k, v], { ...gates, state: shape(2, 2, 3) }, 'SHAPE', 'state'],
      [[q, k, v], { ...gates, causal: false }, 'OPTION', 'causal'],
      [[q, k, v], { ...gates, kvLengths: [5] }, 'OPTION', 'kvLengths'],
      [[q, k, v], { ...gates, returnState: 1 }, 'OPTION', 'returnState'],
      [[q, k, v], { ...gates, gate: 1 }, 'OPTION', 'gate']
    ]
    for (const [[a, b, c], options, code, argument] of cases) {
      for (const call of [() => linear.forward(a, b, c, options), () => stream.step(a, b, c, options)]) {
        const fault = faultOf(t, call)
        t.deepEqual([fault.code, fault.argument], [code, argument], fault.message)
      }
    }
    for (const options of [{ decay: gates.decay }, { beta: gates.beta }, { state: v }, { returnState: true }]) {
      const calls = [() => kernel.forward(q, q, q, options), () => kernel.stream().step(q, q, q, options)]
      for (const call of calls) t.like(faultOf(t, call), { code: 'OPTION', argument: Object.keys(options)[0] })
    }
    t.like(
      faultOf(t, () => kernel.stream().step(q, q, q, { causal: false })),
      { code: 'OPTION', argument: 'causal' }
    )
    t.like(
      faultOf(t, () => linear.featureMap(q)),
      { code: 'OPTION', argument: 'rule' }
    )
    t.like(
      faultOf(t, () => stream.step(q, k, shape(1, 5, 4), gates)),
      { code: 'SHAPE', argument: 'v' }
    )
    const second = stream.step(q, k, v, { ...gates, causal: true })
    close(t, second.output, linear.forward(q, k, v, { ...gates, state: first.state }).output, 1e-5)
    stream.reset()
    t.is(bits(stream.step(q, k, v, gates).output), bits(first.output))
    for (const object of [stream, linear, kernel]) object.dispose()
  })
})

if (backends.length > 1) {
  test('native and wasm agree to 1e-5 in every recurrent rule', (t) => {
    for (const rule of rules) {
      const sizes = { batch: 1, kvHeads: 2, group: 2, length: 150, size: 16, valueDim: 20, byRow: true }
      const { config, inputs, gates } = callOf({ rule, ...sizes, sharesBeta: false, decay: 0.1, seed: 9 })
      const [native, wasm] = backends.map(({ attention: { LinearAttention } }) => {
        const linear = new LinearAttention(config)
        const { output } = linear.forward(...inputs, gates)
        linear.dispose()
        return output
      })
      requireClose(native, wasm, 1e-5 * largest(wasm), rule)
      t.pass()
    }
  })
}
