// Gradients, losses, schedules and optimizers against PyTorch's; outputs of `vjp` against the calls themselves; and
// every misuse.
import { loadBackend } from '@ruvector/attention/training'
import test from 'ava'
import { readGolden } from '../support/golden.js'
import { bits, faultOf, normal } from '../support/tensors.js'
import { distance, inner, moved, onBothTrainingBackends, randomized } from '../support/training.js'

/** @typedef {import('@ruvector/attention/training').Tensor} Tensor */
/** Type of deliberately wrong arguments. @typedef {any} Any */

const { cases } = readGolden('training')
const casesOf = (/** @type {string} */ kind) => cases.filter((golden) => golden.kind === kind)

/** The tensors of a case below a prefix. @param {import('../support/golden.js').Case} golden @param {string} prefix */
const below = ({ tensors }, prefix) =>
  Object.fromEntries(
    Object.entries(tensors).flatMap(([name, tensor]) =>
      name.startsWith(prefix) ? [[name.slice(prefix.length), tensor]] : []
    )
  )

/** The order of the tensors that are arguments; all others are options. */
const ARGUMENTS = ['x', 'q', 'k', 'v', 'a', 'b', 'query', 'context']

/**
 * The arguments of a call.
 *
 * @param {import('../support/golden.js').Case} golden
 * @returns {Any[]}
 */
function argumentsOf({ options, target, ...golden }) {
  const given = below(/** @type {Any} */ (golden), 'in.')
  if (target === 'linear') return [given.x, given.weight, given.bias]
  const tensors = ARGUMENTS.filter((name) => name in given).map((name) => given[name])
  const others = Object.entries(given).filter(([name]) => !ARGUMENTS.includes(name))
  const all = { ...options, ...Object.fromEntries(others) }
  return Object.keys(all).length > 0 ? [...tensors, all] : tensors
}

onBothTrainingBackends((kind, training) => {
  const { AdamW, Linear, SGD, TransformerEncoderLayer, createTensor, crossEntropy, meanPool, vjp } = training

  /** @param {import('../support/golden.js').Case} golden @returns {Any} */
  function targetOf({ layer, target, config, ...golden }) {
    if (layer === undefined) return training[/** @type {'relu'} */ (target)]
    const made = new /** @type {Any} */ (training)[layer](config)
    return made.loadStateDict(below(/** @type {Any} */ (golden), 'state.'))
  }

  for (const golden of casesOf('gradient')) {
    test(`${kind}: the gradients of ${golden.name} are PyTorch's`, (t) => {
      const target = targetOf(golden)
      const pass = vjp(target, ...argumentsOf(golden))
      t.true(Number(distance(pass.output, golden.tensors.output)) < 1e-5)
      const { inputs, parameters } = pass.backward(golden.tensors.gradient)
      const found = { ...inputs, ...parameters }
      const expected = { ...below(golden, 'grad.in.'), ...below(golden, 'grad.state.') }
      t.deepEqual(Object.keys(found).sort(), Object.keys(expected).sort())
      for (const [name, tensor] of Object.entries(expected)) {
        const off = distance(/** @type {Any} */ (found)[name], tensor)
        t.true(Number(off) < 2e-5, `${name}: ${off}`)
      }
    })
  }

  for (const { name, tensors, value, arguments: rest, options, weights, target } of casesOf('loss')) {
    test(`${kind}: ${name} and its gradients are PyTorch's`, (t) => {
      const call = /** @type {Any} */ (training)[name.split(',')[0]]
      const given = weights ? { ...options, weights: Float32Array.from(weights) } : options
      const second = target ? [createTensor(target.flat(), [5, 4])] : []
      const loss = call(...Object.values(below(/** @type {Any} */ ({ tensors }), 'in.')), ...second, ...rest, given)
      t.true(Math.abs(loss.value - value) < 1e-6 * Math.max(1, value), `${loss.value}`)
      const gradients = loss.gradients ?? [loss.gradient]
      gradients.forEach((/** @type {Tensor} */ gradient, /** @type {number} */ at) => {
        t.true(Number(distance(gradient, tensors[`grad.${at}`])) < 1e-6)
      })
    })
  }

  for (const { name, tensors, options } of casesOf('optimizer')) {
    test(`${kind}: ${name} takes PyTorch's steps, also when it continues from a saved state`, (t) => {
      const Optimizer = name.startsWith('AdamW') ? AdamW : SGD
      const make = () => new Linear({ inFeatures: 3, outFeatures: 4, useBias: false })
      const layer = make().loadStateDict({ weight: tensors.start })
      const optimizer = new Optimizer(layer, options)
      const [copy, continued] = [make(), undefined]
      /** @type {Any} */
      let second = continued
      for (let step = 0; step < 6; step++) {
        const gradient = { data: tensors.gradients.data.slice(12 * step, 12 * step + 12), shape: [4, 3] }
        optimizer.step({ weight: gradient })
        second?.step([{ weight: gradient }])
        const { weight } = layer.stateDict()
        t.true(Number(distance(weight, tensors[`step.${step}`])) < 1e-6, `step ${step}`)
        if (second) t.is(bits(copy.stateDict().weight), bits(weight))
        if (step !== 2) continue
        copy.loadStateDict({ weight })
        second = new Optimizer([copy], options)
        second.loadStateDict(optimizer.stateDict())
      }
    })
  }

  test(`${kind}: the loss of an encoder follows PyTorch's over 50 steps of AdamW`, (t) => {
    const [golden] = casesOf('curve')
    const sizes = {
      modelDim: 16,
      numHeads: 4,
      feedForwardDim: 24,
      activation: /** @type {const} */ ('gelu'),
      dropout: 0
    }
    const encoder = new TransformerEncoderLayer(sizes).loadStateDict(below(golden, 'encoder.'))
    const head = new Linear({ inFeatures: 16, outFeatures: 3 }).loadStateDict(below(golden, 'head.'))
    const optimizer = new AdamW([encoder, head], { weightDecay: 0.05, clipNorm: 1 })
    const factor = training.cosineSchedule({ steps: 50 })
    const { curve, targets, tensors } = golden
    for (let step = 0; step < 50; step++) {
      optimizer.learningRate = 0.003 * factor(step)
      const encoded = vjp(encoder, tensors.x)
      const pooled = vjp(meanPool, encoded.output)
      const logits = vjp(head, pooled.output)
      const { value, gradient } = crossEntropy(logits.output, targets)
      t.true(Math.abs(value - curve[step]) < 1e-4, `step ${step}: ${value} instead of ${curve[step]}`)
      const last = logits.backward(gradient)
      const first = encoded.backward(pooled.backward(last.inputs.x).inputs.x)
      optimizer.step([first.parameters, last.parameters])
    }
  })

  /**
   * Checks that the output of `vjp` is that of the call, and that its gradients predict how the output changes along a
   * random direction of all inputs and parameters.
   *
   * @param {import('ava').ExecutionContext} t
   * @param {Any} target
   * @param {Any[]} args
   * @param {(...args: Any[]) => Tensor} call
   * @param {string[]} names  of the arguments that are tensors
   */
  function check(t, target, args, call, names) {
    const pass = vjp(target, ...args)
    const off = distance(pass.output, call(...args))
    t.true(Number(off) < 1e-5, `output: ${off}`)
    const gradient = normal(pass.output.shape, 77)
    const { inputs, parameters } = pass.backward(gradient)
    const directions = (/** @type {Record<string, Tensor>} */ tensors, /** @type {number} */ seed) =>
      Object.fromEntries(Object.entries(tensors).map(([name, { shape }], at) => [name, normal(shape, seed + at)]))
    const [ofInputs, ofParameters] = [directions(/** @type {Any} */ (inputs), 200), directions(parameters, 300)]
    const expected = [
      ...Object.entries(inputs).map(([name, tensor]) => inner(/** @type {Any} */ (tensor), ofInputs[name])),
      ...Object.entries(parameters).map(([name, tensor]) => inner(tensor, ofParameters[name]))
    ].reduce((a, b) => a + b, 0)
    const state = target.stateDict?.()
    const at = (/** @type {number} */ step) => {
      const move = (/** @type {string} */ name, /** @type {Tensor} */ tensor) => moved(tensor, ofInputs[name], step)
      const here = args.map((arg, index) => {
        if (names[index] in ofInputs) return move(names[index], arg)
        const isOptions = arg && typeof arg === 'object' && !('shape' in arg) && !ArrayBuffer.isView(arg)
        if (!isOptions || arg.constructor !== Object) return arg
        const own = Object.entries(arg).map(([name, value]) => [
          name,
          name in ofInputs ? move(name, /** @type {Any} */ (value)) : value
        ])
        return Object.fromEntries(own)
      })
      if (state) {
        const own = Object.entries(ofParameters).map(([name, direction]) => [name, moved(state[name], direction, step)])
        target.loadStateDict(Object.fromEntries(own))
      }
      return inner(call(...here), gradient)
    }
    const step = 1e-3
    const slope = (at(step) - at(-step)) / (2 * step)
    if (state) target.loadStateDict(state)
    const scale = Math.max(1, Math.abs(expected), Math.sqrt(gradient.data.length))
    t.true(Math.abs(slope - expected) < 2e-2 * scale, `slope ${slope}, predicted ${expected}`)
  }

  const [x, y] = [normal([2, 5, 16], 1), normal([2, 7, 16], 2)]
  const packed = normal([1, 9, 16], 3)
  const rotary = { base: 100 }
  /** @type {[name: string, config: Any, args: Any[], isTraining?: boolean][]} */
  const attentions = [
    ['plain', {}, [x]],
    ['grouped, with rotary positions and a norm of heads', { kvHeads: 2, rotary, qkNorm: 'head', causal: true }, [x]],
    [
      'a norm over all heads, an offset',
      { qkNorm: { over: 'model', kind: 'layer' }, rotary },
      [x, { queryOffset: 3, causal: true }]
    ],
    ['gates', { outputGate: true, qkNorm: { over: 'head', weightOffset: 1 }, rotary: { dim: 2 } }, [x]],
    ['some biases', { useBias: { query: true, key: false, value: true, output: false } }, [x]],
    ['no biases, softcap, scale, window', { useBias: false, softcap: 2, scale: 0.4, window: [2, 1] }, [x]],
    ['added keys', { addBiasKv: true, addZeroAttn: true, causal: true }, [x, { kvLengths: Int32Array.of(4, 2) }]],
    ['a float mask', {}, [x, { mask: normal([4, 5, 5], 8) }]],
    ['a relative bias', { causal: true }, [x, { relativeBias: normal([4, 9], 9) }]],
    ['sinks', { sinks: true, causal: true }, [x]],
    ['a key of zeros and sinks', { sinks: true, addZeroAttn: true }, [x]],
    ['a bias of its own', { relativeBias: { buckets: 8, maxDistance: 6 } }, [x, { queryOffset: 1 }]],
    [
      'a bias of its own in packed sequences',
      { relativeBias: { buckets: 8, maxDistance: 6 } },
      [packed, { cuSeqlens: Int32Array.of(0, 4, 9), queryOffset: Int32Array.of(1, 1) }]
    ],
    ['dropout', { dropout: 0.4, seed: 5 }, [x, { seed: 9 }], true],
    ['packed sequences', { rotary, causal: true }, [packed, { cuSeqlens: Int32Array.of(0, 4, 9) }]],
    ['positions', { rotary }, [x, { positions: [[0, 2, 3, 7, 1]].flat() }]],
    ['rotary scaling', { rotary: { scaling: { rope_type: 'linear', factor: 2 } } }, [x]]
  ]
  for (const [name, config, args, isTraining] of attentions) {
    test(`${kind}: self-attention with ${name} has gradients`, (t) => {
      const layer = randomized(new training.SelfAttention({ modelDim: 16, numHeads: 4, ...config }), 40)
      layer.train(isTraining ?? false)
      check(t, layer, args, (...given) => layer.forward(.../** @type {[Any]} */ (given)).output, ['x'])
    })
  }

  test(`${kind}: attention of two and three inputs has gradients`, (t) => {
    const sizes = { modelDim: 16, numHeads: 4 }
    const cross = randomized(new training.CrossAttention({ ...sizes, kDim: 6, vDim: 6 }), 50)
    const context = normal([2, 7, 6], 4)
    check(t, cross, [x, context], (q, c) => cross.forward(q, c).output, ['query', 'context'])
    const heads = randomized(new training.MultiHeadAttention(sizes), 51)
    check(t, heads, [x, y, normal([2, 7, 16], 5)], (q, k, v) => heads.forward(q, k, v).output, ['q', 'k', 'v'])
    check(t, heads, [x, y], (q, k) => heads.forward(q, k).output, ['q', 'k'])
    check(t, heads, [x], (q) => heads.forward(q).output, ['q'])
  })

  /** @type {[name: string, config: Any, args: Any[], isTraining?: boolean][]} */
  const encoders = [
    ['norms after', { dropout: 0 }, [x]],
    ['norms first, RMS, gated', { normFirst: true, norm: 'rms', gated: true, activation: 'silu' }, [x]],
    ['no first norm, quick-gelu', { normFirst: true, attentionNorm: false, activation: 'quick-gelu' }, [x]],
    ['settings of its attention', { attention: { rotary, kvHeads: 2, qkNorm: 'head' }, useBias: false }, [x]],
    ['dropout', { dropout: 0.3, activation: 'gelu' }, [x, { seed: 4 }], true],
    [
      'dropout of packed sequences',
      { dropout: 0.3, activation: 'gelu' },
      [packed, { cuSeqlens: Int32Array.of(0, 4, 9) }],
      true
    ]
  ]
  for (const [name, config, args, isTraining] of encoders) {
    test(`${kind}: an encoder layer with ${name} has gradients`, (t) => {
      const sizes = { modelDim: 16, numHeads: 4, feedForwardDim: 12, activation: /** @type {const} */ ('gelu-tanh') }
      const layer = randomized(new TransformerEncoderLayer({ ...sizes, ...config }), 60)
      layer.train(isTraining ?? false)
      check(t, layer, args, (...given) => layer.forward(.../** @type {[Any]} */ (given)).output, ['x'])
    })
  }

  test(`${kind}: packed sequences of decoder layers and of latent attention have gradients`, (t) => {
    const decoder = new training.DecoderLayer({ modelDim: 16, numHeads: 4, feedForwardDim: 12, attention: { rotary } })
    const ranks = { modelDim: 16, numHeads: 4, latentRank: 5, nopeDim: 6, rotaryDim: 4, valueDim: 3, causal: true }
    for (const layer of [decoder, new training.LatentAttention(ranks)]) {
      const args = [packed, { cuSeqlens: Int32Array.of(0, 4, 9) }]
      check(t, randomized(layer, 71), args, (...given) => layer.forward(.../** @type {[Any]} */ (given)).output, ['x'])
    }
  })

  /** @type {[name: string, config: Any][]} */
  const decoders = [
    ['norms before', {}],
    ['norms before and after', { normPlacement: 'sandwich', weightOffset: 1, norm: 'layer', useBias: true }],
    ['norms after', { normPlacement: 'post', gated: false, activation: 'gelu' }],
    ['parallel sublayers', { parallel: true, attention: { rotary, softcap: 3, window: [2, 0] } }]
  ]
  for (const [name, config] of decoders) {
    test(`${kind}: a decoder layer with ${name} has gradients`, (t) => {
      const sizes = { modelDim: 16, numHeads: 4, kvHeads: 2, feedForwardDim: 12 }
      const layer = randomized(new training.DecoderLayer({ ...sizes, ...config }), 70)
      check(t, layer, [x, { queryOffset: 1 }], (...given) => layer.forward(.../** @type {[Any]} */ (given)).output, [
        'x'
      ])
    })
  }

  test(`${kind}: decoder layers with a context, and latent attention, have gradients`, (t) => {
    const sizes = { modelDim: 16, numHeads: 4, feedForwardDim: 12, activation: /** @type {const} */ ('gelu') }
    for (const isTraining of [false, true]) {
      const layer = randomized(new training.TransformerDecoderLayer({ ...sizes, dropout: 0.2, gated: true }), 80)
      layer.train(isTraining)
      const options = { contextLengths: Int32Array.of(7, 3) }
      check(t, layer, [x, y, options], (...given) => layer.forward(.../** @type {[Any, Any]} */ (given)).output, [
        'x',
        'context'
      ])
      const lengths = { cuSeqlens: Int32Array.of(0, 4, 9), cuSeqlensKeys: Int32Array.of(0, 2, 7) }
      const args = [packed, normal([1, 7, 16], 8), lengths]
      check(t, layer, args, (...given) => layer.forward(.../** @type {[Any, Any]} */ (given)).output, ['x', 'context'])
    }
    const ranks = { modelDim: 16, numHeads: 4, latentRank: 5, nopeDim: 6, rotaryDim: 4, valueDim: 3 }
    for (const more of [{}, { queryRank: 6, useBias: true, causal: true }]) {
      const layer = randomized(new training.LatentAttention({ ...ranks, ...more }), 81)
      check(t, layer, [x], (...given) => layer.forward(.../** @type {[Any]} */ (given)).output, ['x'])
    }
  })

  test(`${kind}: linear layers, embeddings and functions of arrangement have gradients`, (t) => {
    const linear = randomized(new Linear({ inFeatures: 16, outFeatures: 3 }), 90)
    check(t, linear, [x], (given) => linear.forward(given), ['x'])
    const table = randomized(new training.Embedding({ numEmbeddings: 6, embeddingDim: 4 }), 91)
    check(t, table, [[1, 5, 1]], (ids) => table.forward(ids), [])
    const { concat, embedding, rotaryEmbedding, transpose } = training
    check(t, transpose, [x, [2, 0, -2]], transpose, ['x'])
    check(t, transpose, [x], transpose, ['x'])
    check(t, embedding, [normal([6, 3], 1), [0, 2, 2]], embedding, ['table'])
    check(t, meanPool, [x, { lengths: [5, 2], normalize: true }], meanPool, ['x'])
    check(t, rotaryEmbedding, [x, { positions: [3, 1, 4, 1, 5], dim: 8 }], rotaryEmbedding, ['x'])
    const pass = vjp(concat, [x, y], 1)
    t.deepEqual(pass.output, concat([x, y], 1))
    const { parts } = pass.backward(pass.output).inputs
    t.deepEqual(parts, [x, y])
  })

  test(`${kind}: attention objects, linear attention and hyperbolic space have gradients`, (t) => {
    const heads = [normal([2, 3, 5, 4], 1), normal([2, 3, 6, 4], 2), normal([2, 3, 6, 4], 3)]
    const qkv = ['q', 'k', 'v']
    for (const object of [
      new training.ScaledDotProductAttention(4, { scale: 0.3 }),
      new training.FlashAttention(4, { blockSize: 16 }),
      new training.LinearAttention({ modelDim: 12, numHeads: 3 }),
      new training.HyperbolicAttention({ curvature: -1, inputs: 'tangent', numHeads: 3 })
    ]) {
      const args = object instanceof training.ScaledDotProductAttention ? [...heads, { window: [2, 2] }] : heads
      check(t, object, args, (...given) => /** @type {Any} */ (object).forward(...given).output, qkv)
    }
    const gated = new training.LinearAttention({ modelDim: 12, numHeads: 3, rule: 'gated_delta' })
    const small = (/** @type {number[]} */ shape, /** @type {number} */ seed) => {
      const { data } = normal(shape, seed)
      return { data: data.map((value) => -Math.abs(value) / 4), shape }
    }
    const same = [normal([2, 3, 5, 4], 1), normal([2, 3, 5, 4], 2), normal([2, 3, 5, 4], 3)]
    const gates = { decay: small([2, 3, 5], 4), beta: normal([2, 3, 5], 5), state: normal([2, 3, 4, 4], 6) }
    check(t, gated, [...same, gates], (...given) => /** @type {Any} */ (gated).forward(...given).output, qkv)
    const space = new training.HyperbolicAttention({ curvature: -1 })
    const points = space.expMap0(normal([4, 3], 7))
    const others = space.expMap0(normal([4, 3], 8))
    check(t, [space, 'distance'], [points, others], (a, b) => space.distance(a, b), ['a', 'b'])
    check(t, [space, 'distanceMatrix'], [points, others], (a, b) => space.distanceMatrix(a, b), ['a', 'b'])
    check(t, [space, 'expMap0'], [normal([4, 3], 9)], (x) => space.expMap0(x), ['tangent'])
    check(t, [space, 'logMap0'], [points], (x) => space.logMap0(x), ['point'])
    check(t, [space, 'midpoint'], [points], (x) => space.midpoint(x), ['points'])
  })

  /** @type {[name: string, make: () => Any, targets: Any, module: string][]} */
  const adaptable = [
    [
      'SelfAttention',
      () => new training.SelfAttention({ modelDim: 16, numHeads: 4, kvHeads: 2 }),
      ['query', 'value', 'output'],
      'v_proj'
    ],
    [
      'TransformerEncoderLayer',
      () =>
        new TransformerEncoderLayer({ modelDim: 16, numHeads: 4, feedForwardDim: 12, dropout: 0, activation: 'gelu' }),
      ['key', 'up', 'down'],
      'linear1'
    ],
    [
      'DecoderLayer',
      () => new training.DecoderLayer({ modelDim: 16, numHeads: 4, feedForwardDim: 12 }),
      ['query', 'gate'],
      'self_attn.q_proj'
    ]
  ]
  for (const [name, make, targets, module] of adaptable) {
    test(`${kind}: adapters of ${name} have gradients, and merge into its weights`, (t) => {
      const layer = randomized(make(), 30)
      const [before, state] = [layer.forward(x).output, layer.stateDict()]
      training.addLora(layer, { rank: 3, alpha: 6, targets, seed: 2 })
      t.deepEqual(layer.forward(x).output, before)
      const shapes = Object.entries(layer.stateDict()).map(([key, { shape }]) => [key, shape])
      t.is(shapes.length, 2 * targets.length)
      t.truthy(shapes.find(([key]) => key === `${module}.lora_A.weight`))
      randomized(layer, 31)
      check(t, layer, [x], (given) => layer.forward(given).output, ['x'])
      const optimizer = new AdamW(layer)
      const pass = vjp(layer, x)
      optimizer.step(pass.backward(normal(pass.output.shape, 5)).parameters)
      const [adapters, trained] = [layer.stateDict(), layer.forward(x).output]
      t.is(faultOf(t, () => training.addLora(layer, { rank: 1 })).argument, 'layer')
      training.mergeLora(layer)
      t.deepEqual(layer.forward(x).output, trained)
      const merged = layer.stateDict()
      t.deepEqual(Object.keys(merged), Object.keys(state))
      const copy = make().loadStateDict(state)
      training.addLora(copy, { rank: 3, alpha: 6, targets })
      copy.loadStateDict(adapters)
      t.deepEqual(copy.forward(x).output, trained)
      t.is(faultOf(t, () => training.mergeLora(layer)).argument, 'layer')
    })
  }

  test(`${kind}: a gradient that a getter detaches is an error`, (t) => {
    const x = normal([2, 3], 1)
    const pass = training.vjp(training.relu, x)
    const data = new Float32Array(6)
    const gradient = {
      data,
      get shape() {
        if (data.length > 0) structuredClone(data.buffer, { transfer: [data.buffer] })
        return [2, 3]
      }
    }
    const { code, argument } = faultOf(t, () => pass.backward(/** @type {Any} */ (gradient)))
    t.deepEqual([code, argument], ['SHAPE', 'gradient'])
    pass.dispose()
  })

  test(`${kind}: objects whose members cannot be read are refused, and members of arrays are not called`, (t) => {
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    const x = normal([2, 3], 1)
    const unreadable = /** @type {Any[]} */ ([proxy, Object.create(proxy), new Proxy(proxy, {})])
    const layer = new training.SelfAttention({ modelDim: 4, numHeads: 1 })
    for (const target of [...unreadable, Object.create(layer), new Proxy(layer, {})]) {
      t.is(faultOf(t, () => training.vjp(target, x)).argument, 'target')
      t.is(faultOf(t, () => training.vjp(/** @type {Any} */ ([target, 'expMap0']), x)).argument, 'target[0]')
      t.is(faultOf(t, () => training.addLora(target, { rank: 1 })).argument, 'layer')
      t.is(faultOf(t, () => new training.SGD(target, { learningRate: 1 })).argument, 'layers')
    }
    for (const value of unreadable) {
      t.is(faultOf(t, () => training.vjp(training.concat, [x, x], value)).argument, 'axis')
      t.is(faultOf(t, () => training.vjp(training.transpose, x, value)).argument, 'order')
    }
    const big = /** @type {Any} */ (1n)
    t.is(faultOf(t, () => training.vjp(training.layerNorm, x, { epsilon: big })).argument, 'epsilon')
    const graph = training.Graph.fromEdges({ numNodes: 2, source: Int32Array.of(0), target: Int32Array.of(1) })
    t.is(faultOf(t, () => training.vjp(training.propagate, graph, x, { reduce: big })).argument, 'reduce')
    graph.dispose()
    const data = Object.defineProperty(x.data.slice(), 'slice', { value: () => t.fail() })
    const pass = training.vjp(training.relu, { data, shape: x.shape })
    t.deepEqual(pass.output.data, training.relu(x).data)
    pass.dispose()
    layer.dispose()
  })

  test(`${kind}: adapters have PEFT's names in every family, and refuse what does not fit`, (t) => {
    const layer = new TransformerEncoderLayer({ modelDim: 16, numHeads: 4, feedForwardDim: 12 })
    const refused = (/** @type {Any} */ options) => faultOf(t, () => training.addLora(layer, options)).argument
    t.deepEqual(
      [
        { rank: 0 },
        { rank: 1, alpha: 0 },
        { rank: 1, targets: ['gate'] },
        { rank: 1, targets: ['q'] },
        { rank: 1, seed: Symbol('1') }
      ].map(refused),
      ['rank', 'alpha', 'targets', 'targets[0]', 'seed']
    )
    training.addLora(layer, { rank: 2 })
    const bert = layer.stateDict({ names: /** @type {Any} */ ('bert') })
    t.deepEqual(Object.keys(bert), [
      'attention.self.query.lora_A.weight',
      'attention.self.query.lora_B.weight',
      'attention.self.value.lora_A.weight',
      'attention.self.value.lora_B.weight'
    ])
    const prefixed = Object.fromEntries(Object.entries(bert).map(([key, tensor]) => [`layer.0.${key}`, tensor]))
    t.notThrows(() => layer.loadStateDict(prefixed, { prefix: 'layer.0' }))
    t.is(faultOf(t, () => layer.loadStateDict(bert, { prefix: 'layer.0' })).code, 'FORMAT')
  })

  test(`${kind}: gradients do not depend on the number of threads`, async (t) => {
    const sizes = { modelDim: 64, numHeads: 4, feedForwardDim: 128, dropout: 0 }
    const long = normal([2, 150, 64], 1)
    const passes = await Promise.all(
      [1, 2, 3].map(async (threads) => {
        const api = await loadBackend(kind, { threads })
        const layer = randomized(new api.TransformerEncoderLayer(sizes), 3)
        const pass = api.vjp(layer, long, { causal: true })
        const { inputs, parameters } = pass.backward(normal(long.shape, 4))
        return [inputs.x, ...Object.values(parameters)].map(bits)
      })
    )
    t.deepEqual(passes[1], passes[0])
    t.deepEqual(passes[2], passes[0])
  })

  test(`${kind}: gradients off the calling thread are the same to the bit, and can be canceled`, async (t) => {
    const layer = randomized(new TransformerEncoderLayer({ modelDim: 16, numHeads: 4, feedForwardDim: 12 }), 20)
    const first = vjp(layer, x)
    const gradient = normal(first.output.shape, 21)
    const expected = first.backward(gradient)
    /** @type {number[]} */
    const fractions = []
    const found = await vjp(layer, x).backwardAsync(gradient, { onProgress: (done) => fractions.push(done) })
    t.is(bits(found.inputs.x), bits(expected.inputs.x))
    for (const [name, tensor] of Object.entries(expected.parameters)) t.is(bits(found.parameters[name]), bits(tensor))
    t.is(fractions.at(-1), 1)
    t.deepEqual(
      fractions,
      fractions.toSorted((a, b) => a - b)
    )
    const controller = new AbortController()
    const canceled = vjp(layer, x).backwardAsync(gradient, { signal: controller.signal })
    controller.abort(new Error('enough'))
    await t.throwsAsync(canceled, { message: 'enough' })
  })

  test(`${kind}: gradients are the caller's own memory, and later changes of the inputs have no effect`, (t) => {
    const own = { data: x.data.slice(), shape: x.shape }
    const pass = vjp(training.add, own, own)
    own.data.fill(0)
    const gradient = normal(x.shape, 3)
    const { a, b } = pass.backward(gradient).inputs
    a.data.fill(7)
    t.deepEqual(b, gradient)
    const squared = vjp(training.multiply, x, x)
    squared.output.data.fill(0)
    t.is(bits(squared.backward(gradient).inputs.a), bits(training.multiply(x, gradient)))
  })

  test(`${kind}: a pass serves once, for a gradient of the output's shape and the parameters of its call`, (t) => {
    const layer = randomized(new Linear({ inFeatures: 16, outFeatures: 2 }), 1)
    const pass = vjp(layer, x)
    const gradient = normal(pass.output.shape, 2)
    t.like(
      faultOf(t, () => pass.backward(normal([2, 5, 3], 1))),
      { code: 'SHAPE', argument: 'gradient' }
    )
    t.like(
      faultOf(t, () => pass.backward(/** @type {Any} */ (null))),
      { code: 'DTYPE', argument: 'gradient' }
    )
    pass.backward(gradient)
    t.is(faultOf(t, () => pass.backward(gradient)).code, 'DISPOSED')
    const changed = vjp(layer, x)
    layer.loadStateDict(layer.stateDict())
    t.is(faultOf(t, () => changed.backward(gradient)).code, 'DISPOSED')
    const disposed = vjp(layer, x)
    disposed.dispose()
    t.is(faultOf(t, () => disposed.backward(gradient)).code, 'DISPOSED')
    const orphaned = vjp(layer, x)
    layer.dispose()
    t.is(faultOf(t, () => orphaned.backward(gradient)).code, 'DISPOSED')
    t.is(faultOf(t, () => vjp(layer, x)).code, 'DISPOSED')
  })

  test(`${kind}: targets and options without gradients are refused by name, and errors are those of the call`, (t) => {
    const layer = new training.SelfAttention({ modelDim: 16, numHeads: 4 })
    const refused = (/** @type {Any[]} */ ...args) => faultOf(t, () => /** @type {Any} */ (vjp)(...args))
    t.like(refused(training.computeStats, x), { code: 'OPTION', argument: 'target', actual: 'computeStats' })
    t.like(refused({}, x), { code: 'OPTION', argument: 'target' })
    t.like(refused(undefined), { code: 'OPTION', argument: 'target' })
    t.like(refused(layer, x, { weights: true }), { code: 'OPTION', argument: 'weights' })
    t.like(refused(layer, x, { cache: layer.createCache({ capacity: 8 }) }), { code: 'OPTION', argument: 'cache' })
    t.like(refused(layer, x, { casual: true }), { message: "unknown option 'casual'; did you mean 'causal'?" })
    t.like(refused(layer, normal([2, 5, 3], 1)), { code: 'SHAPE', argument: 'x' })
    t.like(refused(training.relu, x, { much: 1 }), { code: 'OPTION', argument: 'relu' })
    t.like(refused(training.linear, x, normal([3, 4], 1)), { code: 'SHAPE' })
    t.like(refused([new training.HyperbolicAttention({ curvature: -1 }), 'mobiusAdd'], x, x), { argument: 'target[1]' })
  })

  test(`${kind}: a step refuses gradients that do not fit, and changes nothing`, (t) => {
    const layer = new Linear({ inFeatures: 2, outFeatures: 1 })
    const before = layer.stateDict()
    const optimizer = new AdamW(layer, { clipNorm: 1 })
    const refused = (/** @type {Any} */ gradients) => faultOf(t, () => optimizer.step(gradients))
    const weight = createTensor([1, 2], [1, 2])
    t.like(refused({ wieght: weight }), { code: 'FORMAT', argument: 'wieght' })
    t.like(refused({ weight: createTensor([1, 2], [2]) }), { code: 'SHAPE', argument: 'weight' })
    t.like(refused({ weight, bias: createTensor([NaN], [1]) }), { code: 'DOMAIN', argument: 'bias' })
    t.like(refused([{ weight }, { weight }]), { code: 'SHAPE', argument: 'gradients' })
    t.like(refused(undefined), { code: 'DTYPE', argument: 'gradients' })
    t.deepEqual(layer.stateDict(), before)
    t.deepEqual(optimizer.stateDict(), {})
    const create = (/** @type {Any[]} */ ...args) => faultOf(t, () => new AdamW(.../** @type {[Any]} */ (args)))
    t.like(create([layer, layer]), { code: 'OPTION', argument: 'layers[1]' })
    t.like(create({}), { code: 'DTYPE', argument: 'layers' })
    t.like(create(layer, { betas: [0.9, 1] }), { code: 'OPTION', argument: 'betas[1]' })
    t.like(create(layer, { clipNorm: 0 }), { code: 'OPTION', argument: 'clipNorm' })
    t.like(
      faultOf(t, () => optimizer.loadStateDict({ 'weight.exp_avg': weight })),
      { code: 'FORMAT' }
    )
    t.like(
      faultOf(t, () => optimizer.loadStateDict({ '0.weight.exp_avg': weight })),
      { code: 'FORMAT' }
    )
  })

  /** Two layers, with gradients of some of their parameters. */
  const two = () => {
    const layers = [
      randomized(new TransformerEncoderLayer({ modelDim: 16, numHeads: 4, feedForwardDim: 24 }), 3),
      randomized(new Linear({ inFeatures: 5, outFeatures: 37 }), 4)
    ]
    const gradients = layers.map((layer, at) =>
      Object.fromEntries(
        Object.entries(layer.stateDict())
          .filter((_, index) => index !== 1 - at)
          .map(([name, { shape }], index) => [name, normal(shape, 50 + index)])
      )
    )
    return { layers, gradients }
  }
  const bitsOf = (/** @type {Record<string, Tensor>} */ state) =>
    Object.entries(state).map(([name, tensor]) => [name, tensor.shape, bits(tensor)])

  for (const [name, create] of /** @type {const} */ ([
    ['AdamW', (/** @type {Any[]} */ layers) => new AdamW(layers, { learningRate: 0.1, clipNorm: 1 })],
    ['SGD', (/** @type {Any[]} */ layers) => new SGD(layers, { learningRate: 0.1, momentum: 0.9, nesterov: true })]
  ])) {
    test(`${kind}: a step of ${name} with one bad gradient changes no parameter and no state of any layer`, (t) => {
      const { layers, gradients } = two()
      const optimizer = create(layers)
      const all = () => [optimizer, ...layers].map((each) => bitsOf(each.stateDict()))
      // Before there are states, and with those of some parameters.
      for (const step of [() => {}, () => optimizer.step([{}, { bias: gradients[1].bias }])]) {
        step()
        const before = all()
        const bad = { ...gradients[1], weight: createTensor(new Float32Array(185).fill(Infinity), [37, 5]) }
        const { code, argument } = faultOf(t, () => optimizer.step([gradients[0], bad]))
        t.deepEqual([code, argument], ['DOMAIN', 'weight'])
        t.deepEqual(all(), before)
      }
    })

    test(`${kind}: states of ${name} continue in another optimizer to the bit`, (t) => {
      const [first, second] = [two(), two()]
      const optimizer = create(first.layers)
      for (let step = 0; step < 3; step++) optimizer.step(first.gradients)
      const state = optimizer.stateDict()
      second.layers.forEach((layer, at) => layer.loadStateDict(first.layers[at].stateDict()))
      const other = create(second.layers)
      other.loadStateDict(state)
      t.deepEqual(bitsOf(other.stateDict()), bitsOf(state))
      for (const each of [optimizer, other]) each.step(first.gradients)
      t.deepEqual(bitsOf(other.stateDict()), bitsOf(optimizer.stateDict()))
      first.layers.forEach((layer, at) => t.deepEqual(bitsOf(layer.stateDict()), bitsOf(second.layers[at].stateDict())))
      // A state that does not fit leaves the one before.
      const wrong = { ...state, [Object.keys(state)[0]]: createTensor([1], [1]) }
      t.is(faultOf(t, () => other.loadStateDict(wrong)).code, 'SHAPE')
      t.deepEqual(bitsOf(other.stateDict()), bitsOf(optimizer.stateDict()))
    })
  }

  test(`${kind}: calls that have begun keep the parameters from before a step`, async (t) => {
    const layer = new TransformerEncoderLayer({ modelDim: 16, numHeads: 4, feedForwardDim: 24, dropout: 0 })
    const x = normal([1, 6, 16], 1)
    const { output: before } = layer.forward(x)
    const pass = vjp(layer, x)
    const { parameters } = pass.backward(normal([1, 6, 16], 2))
    const calls = [0, 1, 2].map(() => layer.forwardAsync(x))
    new AdamW(layer, { learningRate: 0.1 }).step(parameters)
    calls.push(layer.forwardAsync(x))
    const { output: after } = layer.forward(x)
    t.true(Number(distance(after, before)) > 1e-2)
    const outputs = (await Promise.all(calls)).map(({ output }) => bits(output))
    t.deepEqual(outputs, [before, before, before, after].map(bits))
    t.is(faultOf(t, () => pass.backward(before)).code, 'DISPOSED')
  })

  test(`${kind}: cross-entropy of no rows ends at once, however many classes there are`, (t) => {
    const shape = [0, Number.MAX_SAFE_INTEGER]
    const { value, gradient } = crossEntropy({ data: new Float32Array(0), shape }, new Int32Array(0), {
      labelSmoothing: 0.5
    })
    t.is(value, NaN)
    t.deepEqual(gradient.shape, shape)
  })

  test(`${kind}: states are in the backend's memory until the optimizer is disposed`, (t) => {
    const make = () => new Linear({ inFeatures: 256, outFeatures: 256, useBias: false })
    const weight = normal([256, 256], 1)
    // The first step may allocate memory that calls share.
    new AdamW(make()).step({ weight })
    const layer = make()
    const { allocated } = training.memoryUsage()
    const optimizer = new AdamW(layer)
    optimizer.step({ weight })
    optimizer.step({ weight })
    const grown = training.memoryUsage().allocated - allocated
    const states = 2 * 4 * 256 * 256
    t.true(grown >= states && grown < states + 2 ** 14, `${grown}`)
    const state = optimizer.stateDict()
    optimizer.dispose()
    optimizer.dispose()
    const left = training.memoryUsage().allocated - allocated
    t.true(left < 2 ** 14, `${left}`)
    for (const call of [
      () => optimizer.step({ weight }),
      () => optimizer.stateDict(),
      () => optimizer.loadStateDict(state)
    ]) {
      t.is(faultOf(t, call).code, 'DISPOSED')
    }
    t.is(layer.forward(weight).shape[1], 256)
    const dispose = Symbol.dispose ?? Symbol.for('Symbol.dispose')
    const other = /** @type {Any} */ (new SGD(layer, { momentum: 0.5 }))
    other[dispose]()
    t.is(faultOf(t, () => other.stateDict()).code, 'DISPOSED')
    const empty = new SGD([])
    t.is(Object.keys(empty.stateDict()).length, 0)
    empty.dispose()
    t.is(faultOf(t, () => empty.stateDict()).code, 'DISPOSED')
  })

  test(`${kind}: schedules are those of transformers`, (t) => {
    for (const { name, factors, options } of casesOf('schedule')) {
      const schedule = /** @type {Any} */ (training)[name](options)
      factors.forEach((/** @type {number} */ factor, /** @type {number} */ step) => {
        t.true(Math.abs(schedule(step) - factor) < 1e-12, `${name} at ${step}`)
      })
      t.is(faultOf(t, () => schedule(-1)).argument, 'step')
    }
    t.is(faultOf(t, () => training.linearSchedule({ steps: 2, warmup: 3 })).argument, 'warmup')
  })
})
