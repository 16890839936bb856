// Mask constructors, statistics of tensors, and the stopwatch.
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import fc from 'fast-check'
import { onBothBackends } from '../support/backends.js'
import { bits, close, faultOf, normal } from '../support/tensors.js'

/** @typedef {any} Anything */

onBothBackends((kind, attention) => {
  const { createCausalMask, createPaddingMask, computeStats, normalize, scaledDotProductAttention } = attention

  test(`${kind}: a causal mask equals the option causal, also with different numbers of keys and queries`, (t) => {
    t.deepEqual([...createCausalMask(2).data], [0, -Infinity, 0, 0])
    for (const [length, keys] of [
      [5, 5],
      [3, 7],
      [7, 3],
      [0, 4],
      [1, 1]
    ]) {
      const mask = createCausalMask(length, keys)
      t.deepEqual(mask.shape, [length, keys])
      const [q, k] = [normal([1, length, 8], 1), normal([1, keys, 8], 2)]
      close(
        t,
        scaledDotProductAttention(q, k, k, { mask }).output,
        scaledDotProductAttention(q, k, k, { causal: true }).output
      )
    }
  })

  test(`${kind}: a padding mask equals kvLengths`, (t) => {
    const lengths = Int32Array.of(3, 0, 5)
    const mask = createPaddingMask(lengths, 5)
    t.deepEqual(mask.shape, [3, 1, 1, 5])
    t.deepEqual([...mask.data], [1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    t.deepEqual(createPaddingMask([3, 0, 5], 5), mask)
    const [q, k] = [normal([3, 2, 4, 8], 1), normal([3, 2, 5, 8], 2)]
    const expected = scaledDotProductAttention(q, k, k, { kvLengths: lengths }).output
    close(t, scaledDotProductAttention(q, k, k, { mask }).output, expected)
  })

  test(`${kind}: statistics match their definition, for any numbers`, (t) => {
    const property = fc.property(
      fc.array(fc.float({ noNaN: true, min: -1e6, max: 1e6 }), { minLength: 1, maxLength: 300 }),
      (values) => {
        const data = Float32Array.from(values)
        const { mean, std, min, max } = computeStats(data)
        const expectedMean = data.reduce((sum, value) => sum + value, 0) / data.length
        const variance = data.reduce((sum, value) => sum + (value - expectedMean) ** 2, 0) / data.length
        const scale = Math.max(...data.map(Math.abs), 1e-30)
        return (
          Math.abs(mean - expectedMean) <= 1e-6 * scale &&
          Math.abs(std - Math.sqrt(variance)) <= 1e-6 * scale &&
          min === Math.min(...data) &&
          max === Math.max(...data)
        )
      }
    )
    t.notThrows(() => fc.assert(property))
    t.deepEqual(computeStats({ data: Float32Array.of(1, 3), shape: [2, 1] }), { mean: 2, std: 1, min: 1, max: 3 })
    t.deepEqual(computeStats(new Float32Array(0)), { mean: NaN, std: NaN, min: Infinity, max: -Infinity })
    t.deepEqual(computeStats(Float32Array.of(1, NaN)), { mean: NaN, std: NaN, min: NaN, max: NaN })
  })

  test(`${kind}: normalized values have mean 0 and variance 1, and keep their shape`, (t) => {
    const x = normal([3, 50], 1)
    x.data.forEach((value, index) => (x.data[index] = 100 + 7 * value))
    const before = bits(x)
    const result = normalize(x)
    t.deepEqual(result.shape, [3, 50])
    const { mean, std } = computeStats(result)
    t.true(Math.abs(mean) < 1e-6 && Math.abs(std - 1) < 1e-6)
    t.is(bits(x), before)
    close(t, normalize({ data: Float32Array.of(-1, 1), shape: [2] }, { epsilon: 3 }), [-0.5, 0.5])
    close(t, normalize({ data: Float32Array.of(4, 4), shape: [2] }), [0, 0])
    t.is(normalize({ data: new Float32Array(0), shape: [0, 3] }).data.length, 0)
  })

  test(`${kind}: invalid inputs are errors with code and argument`, (t) => {
    for (const [code, argument, call] of /** @type {[string, string, () => unknown][]} */ ([
      ['SHAPE', 'length', () => createCausalMask(-1)],
      ['SHAPE', 'length', () => createCausalMask(2.5, 3)],
      ['SHAPE', 'keyLength', () => createCausalMask(2, /** @type {Anything} */ ('3'))],
      ['SHAPE', 'keyLength', () => createCausalMask(3, -1)],
      ['OPTION', 'lengths[1]', () => createPaddingMask([1, 6], 5)],
      ['OPTION', 'lengths[0]', () => createPaddingMask([-1], 5)],
      ['OPTION', 'lengths[0]', () => createPaddingMask([NaN], 5)],
      ['DTYPE', 'lengths', () => createPaddingMask(/** @type {Anything} */ (3), 5)],
      ['SHAPE', 'maxLength', () => createPaddingMask([1], -5)],
      ['DTYPE', 'tensor', () => computeStats(/** @type {Anything} */ ([1, 2]))],
      ['SHAPE', 'tensor', () => computeStats({ data: new Float32Array(2), shape: [3] })],
      ['DTYPE', 'tensor', () => normalize(/** @type {Anything} */ (new Float32Array(3)))],
      ['OPTION', 'epsilon', () => normalize(normal([2], 1), { epsilon: -1 })],
      ['OPTION', 'eps', () => normalize(normal([2], 1), /** @type {Anything} */ ({ eps: 1 }))],
      ['OPTION', 'options', () => normalize(normal([2], 1), /** @type {Anything} */ (3))]
    ])) {
      const fault = faultOf(t, call)
      t.is(fault.code, /** @type {Anything} */ (code), fault.message)
      t.is(fault.argument, argument, fault.message)
    }
  })

  test(`${kind}: the monitor measures between marks, and until now`, async (t) => {
    const monitor = new attention.PerformanceMonitor()
    monitor.mark('start')
    await sleep(20)
    monitor.mark('end')
    const between = monitor.measure('start', 'end')
    t.true(between >= 19 && between < 5000, `${between} ms`)
    t.is(monitor.measure('start', 'end'), between)
    t.true(monitor.measure('start') >= between)
    t.true(monitor.measure('end', 'start') === -between)
    t.is(faultOf(t, () => monitor.measure('nothing')).argument, 'start')
    t.is(faultOf(t, () => monitor.measure('start', 'nothing')).argument, 'end')
    monitor.clear()
    t.is(faultOf(t, () => monitor.measure('start')).code, 'OPTION')
  })
})
