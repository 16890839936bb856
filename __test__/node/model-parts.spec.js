// The parts of models, for looking inside and for training: embeddings and layers give what the model gives, and learn.
import { readFileSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { Layer, loadSafetensors } from '@ruvector/attention'
import { loadModel } from '@ruvector/attention/models'
import { readTensors } from '../support/golden.js'
import { faultOf, normal } from '../support/tensors.js'
import { distance, inner, moved, onBothTrainingBackends } from '../support/training.js'

/** @typedef {import('@ruvector/attention').Tensor} Tensor */
/** Type of layers whose class is not known, and of wrong arguments. @typedef {any} Any */

const root = new URL('../golden/models/', import.meta.url)
const folders = readdirSync(root, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && !entry.name.startsWith('sentences'))
  .map(({ name }) => name)
/** @type {number[][]} */
const ids = JSON.parse(readFileSync(new URL('texts.json', root), 'utf8')).ids
const expectedOf = (/** @type {string} */ name) => readTensors(new URL(`${name}/expected.safetensors`, root)).tensors
const weightsOf = (/** @type {string} */ name) =>
  loadSafetensors(new Uint8Array(readFileSync(new URL(`${name}/model.safetensors`, root))))

/**
 * Loads a model that is disposed of at the end of the test.
 *
 * @param {import('ava').ExecutionContext} t
 * @param {string} name
 * @param {import('@ruvector/attention/models').LoadModelOptions} options
 */
async function loaded(t, name, options) {
  const model = await loadModel(fileURLToPath(new URL(name, root)), options)
  t.teardown(() => model.dispose())
  return model
}

/** The outputs of a batch of texts of one length, part by part. @param {Any} model @param {Any} first */
const throughLayers = (model, first) =>
  model.layers.reduce((/** @type {Any} */ x, /** @type {Any} */ layer) => layer.forward(x).output, first)

onBothTrainingBackends((kind, training) => {
  test(`${kind}: several workers give the bits of one, also after a call is canceled`, async (t) => {
    const one = await loaded(t, 'sentences-max', { attention: training })
    const model = await loaded(t, 'sentences-max', { attention: training, workers: 2 })
    const texts = Array.from({ length: 12 }, (_, index) => `a cat ${'sat '.repeat(index % 5)}`)
    const expected = await one.embed(texts)
    const options = { batchTokens: 16 }
    for (const vectors of await Promise.all([model.embed(texts, options), model.embed(texts, options)])) {
      t.deepEqual(vectors, expected)
    }
    const stop = new AbortController()
    const stopped = model.embed(texts, { ...options, signal: stop.signal, onProgress: () => stop.abort() })
    const [canceled, whole] = await Promise.allSettled([stopped, model.embed(texts, options)])
    t.is(canceled.status, 'rejected')
    t.deepEqual(/** @type {Any} */ (whole).value, expected)
    t.deepEqual(await model.embed(texts), expected)
    const last = model.embed(texts, options)
    model.dispose()
    t.is(/** @type {Any} */ (await t.throwsAsync(last)).code, 'DISPOSED')
    t.deepEqual(await one.embed(texts), expected)
    for (const workers of [0, 1.5, '2']) {
      const loading = loadModel(fileURLToPath(new URL('bert', root)), /** @type {Any} */ ({ workers }))
      t.is(/** @type {Any} */ (await t.throwsAsync(loading)).argument, 'workers')
    }
  })

  const { AdamW, crossEntropy, linear, reshape, vjp } = training

  test(`${kind}: embeddings give the rows that enter the first layer, for every family`, async (t) => {
    for (const name of folders) {
      const model = await loaded(t, name, { attention: training })
      const { embeddings } = model
      t.true(embeddings instanceof Layer, name)
      const expected = expectedOf(name)
      const pixels = expected.pixels
      const isText = model.tasks.length > 0
      const inputs = isText ? ids.map((list) => [...list, 39]) : { pixels }
      const { hiddenStates } = await model.encode(inputs, { hiddenStates: true })
      const [first] = /** @type {Tensor[]} */ (hiddenStates)
      const own = isText
        ? embeddings.forward(/** @type {number[][]} */ (inputs).flat(), { cuSeqlens: [0, 8, 12, 25] })
        : embeddings.forward(pixels)
      t.deepEqual(own.data, first.data, name)
      t.is(own.shape[own.shape.length - 1], first.shape[1])
      t.deepEqual((await embeddings.forwardAsync(isText ? ids[0] : pixels)).shape.length, 3)
    }
  })

  test(`${kind}: embeddings and layers in order are the model`, async (t) => {
    for (const name of ['bert', 'albert-words', 'vit', 'roberta-words']) {
      const model = await loaded(t, name, { attention: training })
      const expected = expectedOf(name)
      const given = name === 'vit' ? expected.pixels : ids[0]
      const inputs = name === 'vit' ? { pixels: given } : [given]
      const { hiddenStates } = await model.encode(/** @type {Any} */ (inputs), { hiddenStates: true })
      const states = /** @type {Tensor[]} */ (hiddenStates)
      // The last one of these is normalized in a ViT.
      const [first, second] = states
      t.is(states.length, model.layers.length + 1)
      const embedded = model.embeddings.forward(given)
      t.deepEqual(embedded.data, first.data)
      const once = /** @type {Any} */ (model.layers[0]).forward(embedded).output
      if (name !== 'vit') t.deepEqual(throughLayers(model, embedded).data, states[states.length - 1].data)
      t.true(Number(distance({ data: once.data, shape: [...second.shape] }, second)) < 1e-5)
    }
  })

  test(`${kind}: embeddings have the names of the checkpoint, and load them, also for a head that shares words`, async (t) => {
    const model = await loaded(t, 'bert-words', { attention: training })
    const { embeddings } = model
    const file = weightsOf('bert-words')
    const state = embeddings.stateDict()
    for (const [name, tensor] of Object.entries(state)) t.deepEqual(tensor.data, file[`bert.${name}`].data, name)
    t.is(
      embeddings.numParameters,
      Object.values(state).reduce((sum, { data }) => sum + data.length, 0)
    )
    t.deepEqual(embeddings.config, {
      numEmbeddings: 40,
      embeddingDim: 16,
      modelDim: 16,
      numPositions: 20,
      numTypes: 2,
      weightType: 'f32'
    })
    const words = 'embeddings.word_embeddings.weight'
    const { logits: before } = await model.encode([ids[0]], { logits: true })
    const other = { ...state, [words]: { ...state[words], data: state[words].data.map((x) => 2 * x) } }
    embeddings.loadStateDict(other)
    const { logits: after } = await model.encode([ids[0]], { logits: true })
    t.notDeepEqual(after, before)
    other[words].data.fill(0)
    t.notDeepEqual(embeddings.stateDict()[words].data, other[words].data)
    embeddings.loadStateDict(/** @type {Any} */ (file), { prefix: 'bert', strict: false })
    t.deepEqual((await model.encode([ids[0]], { logits: true })).logits, before)
    const { [words]: _, ...less } = state
    t.is(faultOf(t, () => embeddings.loadStateDict(less)).argument, words)
    t.is(faultOf(t, () => embeddings.loadStateDict({ ...state, more: state[words] })).argument, 'more')
    const wrong = { ...state, [words]: { data: new Float32Array(4), shape: [2, 2] } }
    t.is(faultOf(t, () => embeddings.loadStateDict(wrong)).code, 'SHAPE')
    t.deepEqual(embeddings.stateDict(), state)
    t.is(faultOf(t, () => embeddings.forward([40])).argument, 'ids')
    t.is(faultOf(t, () => embeddings.forward([1], { types: [2] })).argument, 'types')
    t.is(faultOf(t, () => embeddings.forward([1], { types: [0, 0] })).code, 'SHAPE')
    t.is(faultOf(t, () => embeddings.forward([1], { positions: [20] })).argument, 'positions')
    t.is(faultOf(t, () => embeddings.forward([1], { cuSeqlens: [0, 2] })).argument, 'cuSeqlens')
    t.is(faultOf(t, () => embeddings.forward([1], /** @type {Any} */ ({ type: [0] }))).code, 'OPTION')
    model.dispose()
    t.is(faultOf(t, () => embeddings.forward([1])).code, 'DISPOSED')
    t.is(faultOf(t, () => embeddings.stateDict()).code, 'DISPOSED')
  })

  test(`${kind}: embeddings in 8 bits keep their type, and load floats`, async (t) => {
    const model = await loaded(t, 'bert', { attention: training, type: 'q8_0' })
    const { embeddings } = model
    const own = embeddings.stateDict({ type: 'own' })
    t.is(/** @type {Any} */ (own['embeddings.word_embeddings.weight']).type, 'q8_0')
    const before = embeddings.forward(ids[0])
    embeddings.loadStateDict(weightsOf('bert'), { prefix: 'bert' in weightsOf('bert') ? 'bert' : '', strict: false })
    t.deepEqual(embeddings.forward(ids[0]), before)
    t.deepEqual(embeddings.stateDict({ type: 'own' }), own)
  })

  test(`${kind}: gradients of embeddings are those of differences, of texts and images`, async (t) => {
    for (const name of [
      'bert',
      'electra-words',
      'gemma2',
      'roberta-words',
      'gpt2',
      'vit',
      'clip-images',
      'siglip-images'
    ]) {
      const model = await loaded(t, name, { attention: training })
      const { embeddings } = model
      const given =
        model.tasks.length > 0
          ? { data: Int32Array.from([...ids[0], ...ids[0]]), shape: [2, 7] }
          : expectedOf(name).pixels
      const pass = vjp(embeddings, given)
      t.true(Number(distance(pass.output, embeddings.forward(/** @type {Any} */ (given)))) < 1e-5, name)
      const gradient = normal(pass.output.shape, 7)
      const { parameters } = pass.backward(gradient)
      const state = embeddings.stateDict()
      t.deepEqual(Object.keys(parameters), Object.keys(state))
      for (const [at, [key, parameter]] of Object.entries(parameters).entries()) {
        const direction = normal(parameter.shape, at)
        const step = 1e-2
        const outputs = [step, -step].map((length) => {
          embeddings.loadStateDict({ ...state, [key]: moved(state[key], direction, length) })
          return inner(embeddings.forward(/** @type {Any} */ (given)), gradient)
        })
        embeddings.loadStateDict(state)
        const expected = (outputs[0] - outputs[1]) / (2 * step)
        const found = inner(parameter, direction)
        t.true(
          Math.abs(found - expected) < 2e-2 * Math.max(1, Math.abs(expected)),
          `${name}, ${key}: ${found}, ${expected}`
        )
      }
    }
  })

  test(`${kind}: embeddings learn in place, and leave the bytes that they were read from`, async (t) => {
    const read = (/** @type {string} */ name) => new Uint8Array(readFileSync(new URL(`bert/${name}`, root)))
    const weights = read('model.safetensors')
    const copy = weights.slice()
    const source = { 'config.json': read('config.json'), 'model.safetensors': weights }
    const { embeddings } = await loadModel(source, { attention: training })
    const before = embeddings.stateDict()
    const optimizer = new AdamW(embeddings, { learningRate: 0.1 })
    const pass = () => /** @type {Any} */ (vjp(embeddings, [1, 5, 9]))
    const stale = pass()
    const gradient = normal(stale.output.shape, 1)
    for (let step = 0; step < 2; step++) optimizer.step(pass().backward(gradient).parameters)
    const after = embeddings.stateDict()
    for (const [name, tensor] of Object.entries(before)) t.notDeepEqual(after[name], tensor, name)
    t.deepEqual(weights, copy)
    t.is(faultOf(t, () => stale.backward(gradient)).code, 'DISPOSED')
    const bad = { ...after, [Object.keys(after)[0]]: { ...Object.values(after)[0], data: new Float32Array(1) } }
    t.is(faultOf(t, () => optimizer.step(bad)).code, 'SHAPE')
    t.deepEqual(embeddings.stateDict(), after)
  })

  test(`${kind}: a whole model learns, and encodes with what it has learned`, async (t) => {
    const model = await loaded(t, 'bert', { attention: training })
    const parts = /** @type {Any[]} */ ([model.embeddings, ...model.layers])
    const optimizer = new AdamW(parts, { learningRate: 0.004 })
    const head = normal([3, 16], 5)
    const texts = { data: Int32Array.from([1, 5, 9, 2, 1, 6, 8, 2, 1, 7, 4, 2]), shape: [3, 4] }
    const losses = []
    for (let step = 0; step < 20; step++) {
      const passes = [/** @type {Any} */ (vjp(parts[0], texts))]
      for (const layer of model.layers) passes.push(vjp(layer, passes[passes.length - 1].output))
      const rows = passes[passes.length - 1].output
      const whole = /** @type {Any} */ (vjp(linear, reshape(rows, [12, 16]), head))
      const loss = crossEntropy(whole.output, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2])
      losses.push(loss.value)
      let gradient = reshape(whole.backward(loss.gradient).inputs.x, [...rows.shape])
      const gradients = passes.reverse().map((pass) => {
        const { inputs, parameters } = pass.backward(gradient)
        gradient = inputs.x
        return parameters
      })
      optimizer.step(gradients.reverse())
    }
    t.true(losses[losses.length - 1] < 0.5 * losses[0], `${losses}`)
    const { hidden } = await model.encode([[1, 5, 9, 2]])
    const { data } = throughLayers(model, model.embeddings.forward([1, 5, 9, 2]))
    t.true(Number(distance({ data, shape: [4, 16] }, hidden)) < 1e-5)
  })
})
