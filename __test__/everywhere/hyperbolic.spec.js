// Hyperbolic attention and its geometry: golden data of geoopt, the laws of the space, the boundary, and every error.
import test from 'ava'
import fc from 'fast-check'
import { backends, onBothBackends } from '../support/backends.js'
import { difference, readGolden } from '../support/golden.js'
import { close, faultOf, normal, random, requireClose } from '../support/tensors.js'

/** @typedef {import('@ruvector/attention').Attention} Attention */
/** @typedef {import('@ruvector/attention').HyperbolicAttention} HyperbolicAttention */
/** @typedef {import('@ruvector/attention').HyperbolicConfig} HyperbolicConfig */
/** @typedef {import('@ruvector/attention').Tensor} Tensor */
/** @typedef {import('../support/golden.js').Case} Case */
/** Type of deliberately wrong arguments. @typedef {any} Any */

/** @param {readonly number[]} shape @param {ArrayLike<number>} data @returns {Tensor} */
const tensor = (shape, data) => ({ data: Float32Array.from(data), shape })

/**
 * Points of the ball of radius 1/√c, the farthest at `reach` times the radius.
 *
 * @param {number} c
 * @param {readonly number[]} shape
 * @param {number} seed
 * @param {number} [reach]
 */
function pointsOfBall(c, shape, seed, reach = 0.9) {
  const { data } = normal(shape, seed)
  const next = random(seed + 1)
  const size = shape[shape.length - 1]
  for (let start = 0; start < data.length; start += size) {
    const row = data.subarray(start, start + size)
    const scale = (reach * next()) / Math.hypot(...row) / Math.sqrt(c)
    row.forEach((x, index) => (row[index] = x * scale))
  }
  return { data, shape }
}

const models = /** @type {const} */ (['poincare', 'lorentz'])
const { cases } = readGolden('hyperbolic')

/** @param {any[]} inputs */
const argumentsOf = ([name, inputs, factor]) => (name === 'mobiusScale' ? [factor, ...inputs] : inputs)

onBothBackends((kind, { HyperbolicAttention, AttentionError }) => {
  for (const golden of cases.filter((found) => found.kind === 'functions')) {
    test(`${kind}: geometry matches geoopt: ${golden.name}`, (t) => {
      const space = new HyperbolicAttention(golden.config)
      const { a, b, vector, tangent, weights, far, ...results } = golden.tensors
      /** @type {Record<string, any[]>} */
      const inputs = {
        distance: [a, b],
        distanceMatrix: [a, b],
        logMap: [a, b],
        expMap: [a, tangent],
        expMap0: [vector],
        logMap0: [a],
        parallelTransport: [a, b, tangent],
        mobiusAdd: [a, b],
        mobiusScale: [a],
        midpoint: [a, weights],
        toLorentz: [a],
        toPoincare: [a],
        projectToBall: [far]
      }
      for (const [name, expected] of Object.entries(results)) {
        const call = /** @type {Any} */ (space)[name].bind(space)
        const found = call(...argumentsOf([name, inputs[name], golden.factor]))
        // Relative to the largest number of a result, because rounding of a distant point's coordinates is as
        // uncertain.
        const largest = expected.data.reduce(
          (/** @type {number} */ most, /** @type {number} */ x) => Math.max(most, Math.abs(x)),
          1
        )
        const problem = difference(found, expected, { absolute: 4e-6 * largest, relative: 1e-6 })
        t.is(problem && `${name} ${problem}`, undefined)
      }
    })
  }

  for (const golden of cases.filter((found) => found.kind === 'attention')) {
    test(`${kind}: attention matches geoopt's distances and midpoints: ${golden.name}`, (t) => {
      const { q, k, v, output, weights, mask } = golden.tensors
      const { kvLengths, ...options } = golden.options
      const result = new HyperbolicAttention(golden.config).forward(q, k, v, {
        ...options,
        ...(kvLengths && { kvLengths: Int32Array.from(kvLengths) }),
        ...(mask && { mask }),
        weights: true
      })
      t.is(difference(result.output, output, { absolute: 1e-5, relative: 5e-6 }), undefined)
      t.is(difference(result.weights, weights, { absolute: 1e-5 }), undefined)
    })
  }

  for (const manifold of models) {
    test(`${kind}: the laws of the space hold in the ${manifold} model`, (t) => {
      const property = fc.property(
        fc.record({ c: fc.constantFrom(0.2, 1, 3), dims: fc.integer({ min: 1, max: 24 }), seed: fc.nat(1e6) }),
        ({ c, dims, seed }) => {
          const ball = new HyperbolicAttention({ curvature: -c })
          const space = new HyperbolicAttention({ curvature: -c, manifold })
          const lift = (/** @type {Tensor} */ x) => (manifold === 'lorentz' ? ball.toLorentz(x) : x)
          const [x, y, z] = [1, 2, 3].map((index) => lift(pointsOfBall(c, [5, dims], seed + 10 * index, 0.8)))
          const distance = space.distance(x, y)
          requireClose(space.distance(y, x), distance, 1e-6, 'symmetry')
          requireClose(space.distance(x, x), new Float32Array(5), 1e-6, 'no distance to itself')
          const [xz, zy] = [space.distance(x, z).data, space.distance(z, y).data]
          distance.data.forEach((length, row) => {
            if (length > xz[row] + zy[row] + 1e-5) throw new Error(`the way by z is shorter: row ${row}`)
          })
          const moved = [y, z].map((point) => space.mobiusAdd(x, point))
          requireClose(space.distance(moved[0], moved[1]), space.distance(y, z), 1e-4, 'translations keep distances')
          const tangent = space.logMap(x, y)
          requireClose(space.expMap(x, tangent), y, 2e-5, 'exp(log)')
          requireClose(space.logMap(x, space.expMap(x, tangent)), tangent, 2e-4, 'log(exp)')
          requireClose(space.expMap0(space.logMap0(x)), x, 1e-5, 'exp₀(log₀)')
          requireClose(space.mobiusScale(2, x), space.mobiusAdd(x, x), 2e-4, 'twice x is x and x')
          const carried = space.parallelTransport(x, y, tangent)
          requireClose(space.parallelTransport(y, x, carried), tangent, 2e-4, 'there and back')
          requireClose(
            space.logMap(y, x).data.map((v) => -v),
            carried,
            2e-4,
            'a geodesic stays itself'
          )
          const middle = space.midpoint({
            data: Float32Array.of(...x.data.slice(0, x.shape[1]), ...y.data.slice(0, y.shape[1])),
            shape: [2, x.shape[1]]
          })
          const half = space.expMap(x, { data: tangent.data.map((v) => v / 2), shape: tangent.shape })
          requireClose(middle.data, half.data.slice(0, x.shape[1]), 2e-5, 'the midpoint of two lies halfway')
        }
      )
      t.notThrows(() => fc.assert(property, { numRuns: 60 }))
    })
  }

  test(`${kind}: the models agree about attention, midpoints and distances`, (t) => {
    const property = fc.property(
      fc.record({
        c: fc.constantFrom(0.3, 1, 2),
        heads: fc.integer({ min: 1, max: 3 }),
        dims: fc.integer({ min: 1, max: 9 }),
        queries: fc.integer({ min: 1, max: 9 }),
        keys: fc.integer({ min: 1, max: 80 }),
        temperature: fc.constantFrom(0.5, 1, 2),
        causal: fc.boolean(),
        seed: fc.nat(1e6)
      }),
      ({ c, heads, dims, queries, keys, temperature, causal, seed }) => {
        const config = { curvature: -c, numHeads: heads, temperature }
        const ball = new HyperbolicAttention(config)
        const hyperboloid = new HyperbolicAttention({ ...config, manifold: 'hyperboloid' })
        const [q, k, v] = [queries, keys, keys].map((length, index) =>
          pointsOfBall(c, [2, heads, length, dims], seed + index)
        )
        const expected = ball.forward(q, k, v, { causal, weights: true })
        const lifted = [q, k, v].map((x) => ball.toLorentz(x))
        const found = hyperboloid.forward(lifted[0], lifted[1], lifted[2], { causal, weights: true })
        requireClose(found.weights, expected.weights, 1e-5, 'weights')
        requireClose(found.output, ball.toLorentz(expected.output), 2e-5, 'outputs')
        requireClose(hyperboloid.toPoincare(found.output), expected.output, 1e-5, 'outputs in the ball')
        requireClose(hyperboloid.distance(lifted[1], lifted[2]), ball.distance(k, v), 1e-5, 'distances')
      }
    )
    t.notThrows(() => fc.assert(property, { numRuns: 60 }))
  })

  test(`${kind}: attention is the softmax of its own distances and the midpoint under its own weights`, (t) => {
    for (const manifold of models) {
      const space = new HyperbolicAttention({ curvature: -1, manifold, temperature: 0.7 })
      const ball = new HyperbolicAttention({ curvature: -1 })
      const [q, k, v] = [7, 130, 130].map((length, index) => {
        const points = pointsOfBall(1, [length, 6], 50 + index, 0.99)
        return manifold === 'lorentz' ? ball.toLorentz(points) : points
      })
      const batch = (/** @type {Tensor} */ { data, shape }) => ({ data, shape: [1, ...shape] })
      const { output, weights } = space.forward(batch(q), batch(k), batch(v), { weights: true })
      const distances = space.distanceMatrix(q, k)
      const shares = distances.data.map((distance) => Math.exp(-distance / 0.7))
      for (let row = 0; row < 7; row++) {
        const part = shares.subarray(row * 130, (row + 1) * 130)
        const sum = part.reduce((total, share) => total + share, 0)
        part.forEach((share, index) => (part[index] = share / sum))
      }
      close(t, weights, shares, 1e-5, 'weights')
      close(t, output, space.midpoint(v, { data: shares, shape: [7, 130] }), 2e-5, 'output')
    }
  })

  test(`${kind}: heads of 3-D inputs are slices of the last dimension, each in its own space`, (t) => {
    const space = new HyperbolicAttention({ curvature: -1, numHeads: 3 })
    const one = new HyperbolicAttention({ curvature: -1 })
    const inputs = [4, 9, 9].map((length, index) => pointsOfBall(1, [2, 3, length, 5], 80 + index))
    const { output } = space.forward(inputs[0], inputs[1], inputs[2])
    const joined = inputs.map(({ data, shape: [batch, heads, length, size] }) => ({
      data: Float32Array.from(data, (_, at) => {
        const [d, h] = [at % size, Math.floor(at / size) % heads]
        const [i, b] = [Math.floor(at / size / heads) % length, Math.floor(at / size / heads / length)]
        return data[((b * heads + h) * length + i) * size + d]
      }),
      shape: [batch, length, heads * size]
    }))
    const found = space.forward(joined[0], joined[1], joined[2], { weights: true })
    t.deepEqual(found.output.shape, [2, 4, 15])
    t.deepEqual(found.weights?.shape, [2, 3, 4, 9])
    t.is(found.output.data[5], output.data[4 * 5], 'the second head of the first row')
    const head = (/** @type {Tensor} */ { data, shape }) => ({
      data: data.slice(0, shape[2] * shape[3]),
      shape: [1, shape[2], shape[3]]
    })
    const alone = one.forward(head(inputs[0]), head(inputs[1]), head(inputs[2]))
    close(t, output.data.slice(0, 20), alone.output, 1e-7, 'the first head')
  })

  test(`${kind}: tangent vectors pass through exp₀ on input and log₀ on output, in both models`, (t) => {
    for (const manifold of models) {
      const tangent = new HyperbolicAttention({ curvature: -0.5, manifold, inputs: 'tangent' })
      const points = new HyperbolicAttention({ curvature: -0.5, manifold })
      const [q, k, v] = [3, 8, 8].map((length, index) => {
        const { data, shape } = normal([1, length, 4], 90 + index)
        return { data: data.map((x) => x * 0.7), shape }
      })
      const expected = points.forward(points.expMap0(q), points.expMap0(k), points.expMap0(v))
      close(t, tangent.forward(q, k, v).output, points.logMap0(expected.output), 1e-5, manifold)
    }
  })

  test(`${kind}: distances keep their accuracy at the boundary`, (t) => {
    const space = new HyperbolicAttention({ curvature: -1 })
    // Computed with the formula to 60 digits, for the points rounded to 32 bits.
    for (const [a, b, expected] of /** @type {const} */ ([
      [[0.99999, 0], [0.99998, 0], 0.6931521873877087],
      [[0.99999, 0], [0.99999, 9.9999e-6], 0.9612082148011021],
      [[0.99999, 0], [0.9999855, 0.0029999656], 11.407822911366011],
      [[0.99999, 0], [-0.99999, 0], 24.40942105558536],
      [[0.5402483, 0.84138685], [0.54023147, 0.84139764], 0.19943250777018473],
      [[-0.41614267, 0.90928835], [0, 1e-4], 12.206945181580062]
    ])) {
      const [found] = space.distance(tensor([2], a), tensor([2], b)).data
      t.true(Math.abs(found / expected - 1) < 1e-6, `${found} instead of ${expected}`)
      // The weights of b and a for the query a differ by the distance.
      const keys = tensor([1, 2, 2], [...a, ...b])
      const { weights } = space.forward(tensor([1, 1, 2], a), keys, keys, { weights: true })
      const [near, far] = weights?.data ?? []
      t.true(Math.abs(Math.log(near / far) / expected - 1) < 1e-4)
    }
  })

  test(`${kind}: the hyperboloid is exact until its coordinates overflow, which is a DOMAIN error`, (t) => {
    for (const [curvature, root] of /** @type {const} */ ([
      [-1, 1],
      [-4, 2]
    ])) {
      const space = new HyperbolicAttention({ curvature, manifold: 'lorentz' })
      for (const length of [1, 42, 60, 88]) {
        const tangent = tensor([3], [(0.6 * length) / root, 0, (-0.8 * length) / root])
        close(t, space.logMap0(space.expMap0(tangent)), tangent, 2e-6 * length, `${length}`)
      }
      const error = faultOf(t, () => space.expMap0(tensor([3], [0, 91 / root, 0])))
      t.like(error, { code: 'DOMAIN', argument: 'tangent', actual: 'row 0, which leads beyond them' })
    }
  })

  test(`${kind}: the distance from the origin grows up to the boundary of the ball, and never falls`, (t) => {
    const space = new HyperbolicAttention({ curvature: -1 })
    const radii = [0.5, 0.999, 0.9999, 1 - 1e-5, 1 - 1e-6, 1, 1.0005]
    const points = tensor(
      [radii.length, 2],
      radii.flatMap((radius) => [radius, 0])
    )
    const { data } = space.distance(points, tensor([1, 2], [0, 0]))
    t.true(
      data.every((distance, row) => row === 0 || distance >= data[row - 1]),
      `${data}`
    )
    t.true(data[5] > data[4], `${data}`)
  })

  test(`${kind}: with one visible key, the output is its value, also at the boundary`, (t) => {
    for (const manifold of models) {
      const ball = new HyperbolicAttention({ curvature: -1 })
      const space = new HyperbolicAttention({ curvature: -1, manifold })
      const points = pointsOfBall(1, [1, 70, 3], 7, manifold === 'lorentz' ? 0.98 : 0.99998)
      const x = manifold === 'lorentz' ? ball.toLorentz(points) : points
      close(t, space.forward(x, x, x, { window: [0, 0] }).output, x, 2e-6, manifold)
    }
  })

  test(`${kind}: a row without a visible key gives the origin, with weights of 0`, (t) => {
    const lengths = { kvLengths: Int32Array.of(0), weights: true }
    for (const [manifold, inputs, origin] of /** @type {const} */ ([
      ['poincare', 'manifold', [0, 0]],
      ['lorentz', 'manifold', [0.5, 0, 0]],
      ['lorentz', 'tangent', [0, 0]]
    ])) {
      const space = new HyperbolicAttention({ curvature: -4, manifold, inputs })
      const x = tensor([1, 1, origin.length], origin)
      const { output, weights } = space.forward(x, x, x, lengths)
      t.deepEqual([...output.data], [...origin])
      t.deepEqual([...(weights?.data ?? [])], [0])
      const none = tensor([1, 0, origin.length], [])
      t.deepEqual([...space.forward(x, none, none).output.data], [...origin], 'no keys at all')
    }
    const space = new HyperbolicAttention({ curvature: -4, manifold: 'lorentz' })
    t.deepEqual([...space.midpoint(tensor([1, 2], [0.5, 0]), tensor([1, 1], [0])).data], [0.5, 0])
  })

  test(`${kind}: hidden keys, such as padding, may have any value`, (t) => {
    const space = new HyperbolicAttention({ curvature: -1, manifold: 'lorentz', numHeads: 2 })
    const ball = new HyperbolicAttention({ curvature: -1 })
    const [q, k, v] = [4, 6, 6].map((length, index) => ball.toLorentz(pointsOfBall(1, [1, 2, length, 3], 30 + index)))
    const kvLengths = Int32Array.of(5)
    const expected = space.forward(q, k, v, { kvLengths })
    for (const filler of [0, NaN, Infinity]) {
      const [padded, values] = [k, v].map(({ data, shape }) => ({ data: data.slice(), shape }))
      for (const head of [0, 1]) {
        padded.data.fill(filler, (head * 6 + 5) * 4, (head * 6 + 6) * 4)
        values.data.fill(filler, (head * 6 + 5) * 4, (head * 6 + 6) * 4)
      }
      t.deepEqual(space.forward(q, padded, values, { kvLengths }).output.data, expected.output.data)
      const mask = { data: Uint8Array.of(1, 1, 1, 1, 1, 0), shape: [6] }
      t.deepEqual(space.forward(q, padded, values, { mask }).output.data, expected.output.data)
    }
  })

  test(`${kind}: out receives the output, and inputs are not written to`, (t) => {
    const space = new HyperbolicAttention({ curvature: -1 })
    const x = pointsOfBall(1, [1, 5, 4], 3)
    const before = x.data.slice()
    const out = new Float32Array(20)
    const { output } = space.forward(x, x, x, { out })
    t.is(output.data, out)
    t.deepEqual(space.forward(x, x, x).output.data, out)
    t.deepEqual(x.data, before)
    t.is(faultOf(t, () => space.forward(x, x, x, { out: x.data })).argument, 'out')
  })

  test(`${kind}: a single row broadcasts, and a single point has no leading dimension`, (t) => {
    const space = new HyperbolicAttention({ curvature: -1 })
    const many = pointsOfBall(1, [2, 3, 4], 5)
    const one = pointsOfBall(1, [4], 6)
    t.deepEqual(space.distance(one, many).shape, [2, 3])
    t.deepEqual(space.expMap(one, many).shape, [2, 3, 4])
    t.deepEqual(space.distance(one, one).shape, [])
    const [, second] = space.distance(many, one).data
    const row = { data: many.data.slice(4, 8), shape: [4] }
    t.is(space.distance(row, one).data[0], second)
    t.deepEqual(space.distance(tensor([0, 4], []), one).shape, [0])
    t.deepEqual(space.distanceMatrix(tensor([0, 4], []), tensor([2, 4], new Float32Array(8))).shape, [0, 2])
  })

  test(`${kind}: invalid configurations are errors that name the option`, (t) => {
    for (const [config, argument, actual] of /** @type {[Any, string, string][]} */ ([
      [{}, 'curvature', 'nothing'],
      [{ curvature: 0 }, 'curvature', '0'],
      [{ curvature: 1 }, 'curvature', '1'],
      [{ curvature: NaN }, 'curvature', 'NaN'],
      [{ curvature: -Infinity }, 'curvature', '-Infinity'],
      [{ curvature: '-1' }, 'curvature', '"-1"'],
      [{ curvature: -1, numHeads: 0 }, 'numHeads', '0'],
      [{ curvature: -1, numHeads: 1.5 }, 'numHeads', '1.5'],
      [{ curvature: -1, temperature: 0 }, 'temperature', '0'],
      [{ curvature: -1, temperature: Infinity }, 'temperature', 'Infinity'],
      [{ curvature: -1, manifold: 'sphere' }, 'manifold', '"sphere"'],
      [{ curvature: -1, inputs: 'points' }, 'inputs', '"points"'],
      [{ curvature: -1, curvatur: -1 }, 'curvatur', 'an unknown name'],
      [null, 'config', 'null']
    ])) {
      const found = faultOf(t, () => new HyperbolicAttention(config))
      t.deepEqual([found.code, found.argument, found.actual], ['OPTION', argument, actual])
    }
    t.is(new HyperbolicAttention({ curvature: -0.1 }).curvature, -0.1)
    t.deepEqual(new HyperbolicAttention({ curvature: -2, numHeads: null }).config, {
      curvature: -2,
      numHeads: 1,
      manifold: 'poincare',
      temperature: 1,
      inputs: 'manifold'
    })
  })

  test(`${kind}: points off the manifold are errors that name argument, row and distance`, (t) => {
    const ball = new HyperbolicAttention({ curvature: -4 })
    const lorentz = new HyperbolicAttention({ curvature: -1, manifold: 'lorentz', numHeads: 2 })
    const zeros = tensor([3, 2], new Float32Array(6))
    const off = tensor([3, 2], [0, 0, 0.6, 0, 0, 0])
    const fault = (/** @type {() => unknown} */ call) => {
      const { code, argument, actual } = faultOf(t, call)
      return [code, argument, actual]
    }
    t.deepEqual(
      fault(() => ball.distance(zeros, off)),
      ['DOMAIN', 'b', 'row 1: 0.2000 of the radius beyond it']
    )
    t.deepEqual(
      fault(() => ball.distanceMatrix(off, zeros)),
      ['DOMAIN', 'a', 'row 1: 0.2000 of the radius beyond it']
    )
    t.deepEqual(
      fault(() => ball.midpoint(off)),
      ['DOMAIN', 'points', 'row 1: 0.2000 of the radius beyond it']
    )
    t.deepEqual(
      fault(() => lorentz.toPoincare(tensor([2], [3, 0]))),
      ['DOMAIN', 'x', 'row 0: 2.0000 of that coordinate off it']
    )
    const x = tensor([1, 2, 4], [1, 0, 1, 0, 1, 0, -1, 0])
    const good = tensor([1, 2, 4], [1, 0, 1, 0, 1, 0, 1, 0])
    t.deepEqual(
      fault(() => lorentz.forward(good, good, x)),
      ['DOMAIN', 'v', 'batch 0, row 1, head 1: 2.0000 of that coordinate off it']
    )
    t.deepEqual(
      fault(() => ball.expMap(zeros, tensor([2], [NaN, 0]))),
      ['DOMAIN', 'tangent', 'row 0, which holds NaN or infinity']
    )
    t.deepEqual(
      fault(() => ball.logMap0(tensor([2], [NaN, 0]))),
      ['DOMAIN', 'point', 'row 0: NaN of the radius beyond it']
    )
    t.deepEqual(
      fault(() => ball.midpoint(zeros, tensor([1, 3], [1, -1, 1]))),
      ['DOMAIN', 'weights', '-1.0000 in row 0']
    )
    const tangent = new HyperbolicAttention({ curvature: -1, inputs: 'tangent' })
    const vectors = tensor([1, 1, 2], [0, Infinity])
    t.deepEqual(
      fault(() => tangent.forward(vectors, vectors, vectors)),
      ['DOMAIN', 'q', 'batch 0, row 0, head 0 with NaN or infinity']
    )
    // Rounding does not move a point off the manifold.
    const rounded = new HyperbolicAttention({ curvature: -1 })
    t.notThrows(() => rounded.distance(tensor([2], [1.0009, 0]), tensor([2], [1, 0])))
    t.notThrows(() => rounded.toPoincare(tensor([2], [1000.0005, 1000])))
  })

  test(`${kind}: shapes and options that do not fit are errors that name them`, (t) => {
    const space = new HyperbolicAttention({ curvature: -1, numHeads: 2 })
    const zeros = (/** @type {number[]} */ ...shape) =>
      tensor(shape, new Float32Array(shape.reduce((a, b) => a * b, 1)))
    const x = zeros(1, 3, 4)
    for (const [call, code, argument] of /** @type {[() => unknown, string, string][]} */ ([
      [() => space.forward(zeros(1, 3, 5), x, x), 'SHAPE', 'q'],
      [() => space.forward(zeros(3, 4), x, x), 'SHAPE', 'q'],
      [() => space.forward(zeros(1, 3, 2, 2), x, x), 'SHAPE', 'q'],
      [() => space.forward(x, zeros(2, 3, 4), x), 'SHAPE', 'k'],
      [() => space.forward(x, zeros(1, 3, 6), x), 'SHAPE', 'k'],
      [() => space.forward(x, x, zeros(1, 2, 4)), 'SHAPE', 'v'],
      [() => space.forward(x, x, x, { kvLengths: Int32Array.of(4) }), 'OPTION', 'kvLengths'],
      [() => space.forward(x, x, x, { mask: zeros(1, 1, 2, 3) }), 'SHAPE', 'mask'],
      [() => space.forward(x, x, x, /** @type {Any} */ ({ scale: 2 })), 'OPTION', 'scale'],
      [() => space.forward(x, x, x, { out: new Float32Array(11) }), 'SHAPE', 'out'],
      [() => space.forward(/** @type {Any} */ ([1]), x, x), 'DTYPE', 'q'],
      [() => space.distance(zeros(2, 3), zeros(3, 3)), 'SHAPE', 'b'],
      [() => space.distance(zeros(2, 3), zeros(2, 4)), 'SHAPE', 'b'],
      [() => space.distance(tensor([], [0]), zeros(2, 3)), 'SHAPE', 'a'],
      [() => space.distanceMatrix(zeros(3), zeros(2, 3)), 'SHAPE', 'a'],
      [() => space.distanceMatrix(zeros(1, 3), zeros(2, 4)), 'SHAPE', 'b'],
      [() => space.midpoint(zeros(2, 3), zeros(1, 3)), 'SHAPE', 'weights'],
      [() => space.toPoincare(zeros(2, 0)), 'SHAPE', 'x'],
      [() => space.mobiusScale(NaN, zeros(1, 2)), 'OPTION', 'factor'],
      [() => space.mobiusScale(/** @type {Any} */ ('2'), zeros(1, 2)), 'OPTION', 'factor'],
      [() => space.logMap(x, /** @type {Any} */ (undefined)), 'DTYPE', 'point']
    ])) {
      const found = faultOf(t, call)
      t.deepEqual([found.code, found.argument], [code, argument])
    }
    const lorentz = new HyperbolicAttention({ curvature: -1, manifold: 'lorentz', numHeads: 2 })
    t.is(faultOf(t, () => lorentz.forward(zeros(1, 3, 0), zeros(1, 3, 0), zeros(1, 3, 4))).code, 'SHAPE')
  })

  test(`${kind}: every use of a disposed space throws`, (t) => {
    const space = new HyperbolicAttention({ curvature: -1 })
    space.dispose()
    space.dispose()
    space[Symbol.dispose]()
    const error = t.throws(() => space.logMap0(tensor([2], [0, 0])), { instanceOf: AttentionError })
    t.is(/** @type {Any} */ (error).code, 'DISPOSED')
  })
})

const [native, wasm] = backends

if (wasm) {
  test('native and wasm agree about hyperbolic attention', (t) => {
    for (const [manifold, inputs] of /** @type {const} */ ([
      ['poincare', 'manifold'],
      ['poincare', 'tangent'],
      ['lorentz', 'tangent']
    ])) {
      const config = { curvature: -1, manifold, inputs, numHeads: 2 }
      const x = [1, 2, 3].map((seed) => pointsOfBall(1, [2, 2, 90, 33], seed, 0.999))
      const results = [native, wasm].map(({ attention }) =>
        new attention.HyperbolicAttention(config).forward(x[0], x[1], x[2], { causal: true, weights: true })
      )
      close(t, results[1].output, results[0].output, 1e-5, 'output')
      close(t, results[1].weights, results[0].weights, 1e-5, 'weights')
    }
  })
}
