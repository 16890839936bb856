// Sums over any number of terms, norms of any finite rows, and features of any size: against doubles, on both backends.
import test from 'ava'
import fc from 'fast-check'
import { onBothBackends } from '../support/backends.js'
import { operations } from '../support/long-sums.js'
import { close } from '../support/tensors.js'

/** @typedef {import('@ruvector/attention').Tensor} Tensor */

/** More and longer draws, as `npm run test:all` makes them. */
const isThorough = !('document' in globalThis) && process.env.RUVECTOR_ATTENTION_THOROUGH === '1'

const draws = fc.record({
  // Powers of ten as likely as each other.
  count: fc.double({ min: 0, max: isThorough ? 6 : 5, noNaN: true }).map((decades) => Math.round(10 ** decades)),
  magnitude: fc.constantFrom(0.1, 1, 1e6, 1e30, 1e-30),
  isConstant: fc.boolean(),
  seed: fc.integer()
})

/**
 * A row's norm in doubles.
 *
 * @param {Float32Array} data
 * @param {{ isCentred: boolean, epsilon: number }} norm
 */
function normalized(data, { isCentred, epsilon }) {
  const mean = isCentred ? data.reduce((sum, value) => sum + value, 0) / data.length : 0
  const variance = data.reduce((sum, value) => sum + (value - mean) ** 2, 0) / data.length
  return Float64Array.from(data, (value) => (value - mean) / Math.sqrt(variance + epsilon))
}

onBothBackends((kind, attention) => {
  for (const [name, error] of Object.entries(operations)) {
    const bound = name.endsWith('Norm') ? 1e-6 : 2e-6
    test(`${kind}: ${name} over any number of terms is within ${bound} of doubles`, (t) => {
      const holds = fc.property(draws, (draw) => {
        const found = error(attention, draw)
        if (!(found <= bound)) throw new Error(`a relative error of ${found}`)
      })
      t.notThrows(() => fc.assert(holds, { numRuns: isThorough ? 15 : 6 }))
      if (isThorough) {
        for (const isConstant of [true, false]) {
          t.true(error(attention, { count: 1_000_000, magnitude: 0.1, isConstant, seed: 1 }) <= bound)
        }
      }
    })
  }

  test(`${kind}: a million edges of 0.1 sum to 100,000, and 2^20 ones to themselves`, (t) => {
    const count = 1_000_000
    const graph = attention.Graph.fromEdges({
      numNodes: 2,
      source: new Int32Array(count).fill(1),
      target: new Int32Array(count)
    })
    const sum = (/** @type {number} */ value) =>
      attention.propagate(graph, { data: Float32Array.of(0, value), shape: [2, 1] }).data[0]
    t.is(sum(0.1), Math.fround(Math.fround(0.1) * count))
    t.is(sum(1), count)
    // Infinity and NaN reach the sum as they are.
    t.is(sum(Infinity), Infinity)
    t.is(sum(-Infinity), -Infinity)
    t.is(sum(NaN), NaN)
    const wide = { data: new Float32Array(2 * 32).fill(-Infinity), shape: [2, 32] }
    t.true(
      attention
        .propagate(graph, wide)
        .data.subarray(0, 32)
        .every((value) => value === -Infinity)
    )
    graph.dispose()
  })

  for (const version of /** @type {const} */ ([1, 2])) {
    test(`${kind}: a self-loop takes the mean features of 300,000 edges, GraphAttention version ${version}`, (t) => {
      const count = 300_000
      const graph = attention.Graph.fromEdges({
        numNodes: 2,
        source: new Int32Array(count).fill(1),
        target: new Int32Array(count)
      })
      const layer = new attention.GraphAttention({ inFeatures: 1, outFeatures: 1, edgeFeatures: 1, version })
      const state = layer.stateDict()
      for (const [name, { data }] of Object.entries(state)) {
        data.fill(/^(?:att|att_edge)$/.test(name) ? 1 : name === 'lin_edge.weight' ? 50 : 0)
      }
      layer.loadStateDict(state)
      const edgeAttr = { data: new Float32Array(count).fill(0.1), shape: [count, 1] }
      const x = { data: new Float32Array(2), shape: [2, 1] }
      const { weights } = layer.forward(graph, x, { edgeAttr, weights: true })
      // Equal scores of 5; the self-loops follow the edges.
      t.true(Math.abs(weights.data[count] / weights.data[0] - 1) < 1e-5)
      layer.dispose()
      graph.dispose()
    })
  }

  test(`${kind}: norms of any finite row are within 1e-6 of doubles`, (t) => {
    const rows = fc.record({
      length: fc.oneof(fc.integer({ min: 1, max: 70 }), fc.integer({ min: 1, max: isThorough ? 1 << 22 : 5000 })),
      mean: fc.constantFrom(0, 1, -1e6, 1e6, 1e30, 3e38, 1e-42),
      deviation: fc.constantFrom(1, 0.1, 1e6, 1e30, 2e38, 1e-20, 1e-40, 0),
      epsilon: fc.constantFrom(1e-5, 1e-12, 0),
      isCentred: fc.boolean(),
      seed: fc.array(fc.float({ min: -1, max: 1, noNaN: true }), { minLength: 3, maxLength: 40 })
    })
    const holds = fc.property(rows, ({ length, mean, deviation, epsilon, isCentred, seed }) => {
      const largest = 3.4028234663852886e38
      const data = Float32Array.from({ length }, (_, index) =>
        Math.min(largest, Math.max(-largest, mean + deviation * seed[index % seed.length]))
      )
      const x = { data, shape: [1, length] }
      const found = isCentred ? attention.layerNorm(x, { epsilon }) : attention.rmsNorm(x, { epsilon })
      const expected = normalized(data, { isCentred, epsilon })
      for (const [index, value] of expected.entries()) {
        const actual = found.data[index]
        // 0 / 0 where a row without variance has no epsilon either.
        const isClose = Math.abs(actual - value) <= 1e-6 * Math.max(1, Math.abs(value))
        if (!isClose && !Number.isNaN(value)) throw new Error(`${actual} instead of ${value} at ${index}`)
      }
    })
    t.notThrows(() => fc.assert(holds, { numRuns: isThorough ? 100 : 60 }))
    const row = { data: Float32Array.of(1e30, -1e30, 2e30, -2e30), shape: [1, 4] }
    close(t, attention.layerNorm(row), normalized(row.data, { isCentred: true, epsilon: 1e-5 }), 1e-6)
  })

  test(`${kind}: meanPool and GraphSage divide rows of any finite size by their lengths`, (t) => {
    for (const magnitude of [1e30, 1, 1e-30]) {
      const x = { data: Float32Array.of(3 * magnitude, 4 * magnitude), shape: [1, 1, 2] }
      const found = attention.meanPool(x, { normalize: true })
      // Below 1e-12 a length counts as that.
      close(
        t,
        found,
        [0.6, 0.8].map((share) => share * Math.min(1, (5 * magnitude) / 1e-12)),
        1e-6
      )
    }
  })

  for (const featureMap of /** @type {const} */ (['elu', 'relu'])) {
    test(`${kind}: linear attention weighs values by features of any size: ${featureMap}`, (t) => {
      const linear = new attention.LinearAttention({ modelDim: 4, featureMap })
      /** @type {(rows: number, draw: (index: number) => number) => Tensor} */
      const tensor = (rows, draw) => ({
        data: Float32Array.from({ length: rows * 4 }, (_, index) => draw(index)),
        shape: [1, rows, 4]
      })
      const length = 150
      const v = tensor(length, (index) => Math.sin(index))
      const features = {
        elu: (/** @type {number} */ x) => (x > 0 ? x + 1 : Math.exp(x)),
        relu: (/** @type {number} */ x) => Math.max(x, 0) + 1e-3
      }[featureMap]
      for (const [query, key] of [
        [-100, 0],
        [0, -100],
        [-100, -100],
        [-300, -350],
        [1e30, 0],
        [1e30, 1e30],
        [100, -100]
      ]) {
        const q = tensor(length, (index) => query + (index % 3))
        const k = tensor(length, (index) => key + Math.cos(index))
        const causal = linear.forward(q, k, v, { causal: true }).output
        const stream = linear.stream()
        const steps = []
        for (let first = 0; first < length; first += 7) {
          const part = (/** @type {Tensor} */ { data }) => {
            const rows = data.subarray(first * 4, (first + 7) * 4)
            return { data: rows, shape: [1, rows.length / 4, 4] }
          }
          steps.push(...stream.step(part(q), part(k), part(v)).output.data)
        }
        stream.dispose()
        const expected = new Float64Array(length * 4)
        const all = new Float64Array(length * 4)
        for (let i = 0; i < length; i++) {
          for (const [until, result] of /** @type {const} */ ([
            [i + 1, expected],
            [length, all]
          ])) {
            let total = 0
            for (let j = 0; j < until; j++) {
              let weight = 0
              for (let d = 0; d < 4; d++) weight += features(q.data[i * 4 + d]) * features(k.data[j * 4 + d])
              total += weight
              for (let e = 0; e < 4; e++) result[i * 4 + e] += weight * v.data[j * 4 + e]
            }
            for (let e = 0; e < 4; e++) result[i * 4 + e] /= total
          }
        }
        close(t, causal, expected, 1e-5, `causal ${query} ${key}`)
        close(t, steps, expected, 1e-5, `stream ${query} ${key}`)
        close(t, linear.forward(q, k, v).output, all, 1e-5, `${query} ${key}`)
      }
      linear.dispose()
    })
  }
})
