// After an internal fault, the error is INTERNAL, the process survives, and calls and layers continue to work.
import test from 'ava'
import { createApi } from '../../lib/face/api.js'
import { Watch } from '../../lib/runtime/async/watch.js'
import { Backend } from '../../lib/runtime/backend.js'
import { createTraining } from '../../lib/training/index.js'
import { loadWithFaults, provokePanic } from '../support/faults.js'
import { bits, faultOf, normal } from '../support/tensors.js'

/** @typedef {import('../../lib/runtime/binding.d.ts').Binding} Binding */
/** @typedef {import('@ruvector/attention').Attention} Attention */

for (const kind of /** @type {const} */ (['native', 'wasm'])) {
  /** A separate backend, so that its faults do not affect others. */
  const open = async () => {
    const loaded = await loadWithFaults(kind)
    const backend = new Backend(() => loaded)
    backend.start()
    const call = () => backend.call(provokePanic).options('on purpose')
    const panic = () => call().run()
    const panicLater = () => call().later(new Watch())
    const training = /** @type {import('@ruvector/attention/training').Attention} */ (
      /** @type {unknown} */ (createTraining(backend))
    )
    return { backend, panic, panicLater, training, attention: /** @type {Attention} */ (createApi(backend)) }
  }
  const x = normal([1, 4, 16], 1)
  const config = { numHeads: 2, headDim: 8, seed: 3, dropout: 0.5 }

  test(`${kind}: a panic is an INTERNAL error with its message, and the next call works`, async (t) => {
    const { panic, attention } = await open()
    const expected = bits(attention.softmax(x))
    for (let repeat = 0; repeat < 3; repeat++) {
      const { code, message } = faultOf(t, panic)
      t.is(code, 'INTERNAL')
      t.regex(message, /on purpose/)
      t.regex(message, /please report/)
      t.is(bits(attention.softmax(x)), expected)
      t.is(attention.backend().kind, kind)
    }
  })

  test(`${kind}: a panic on another thread rejects only its own call`, async (t) => {
    const { panicLater, attention } = await open()
    const layer = new attention.SelfAttention({ ...config, dropout: 0 })
    const expected = bits(layer.forward(x).output)
    for (let repeat = 0; repeat < 3; repeat++) {
      const calls = [layer.forwardAsync(x), panicLater(), layer.forwardAsync(x), panicLater(), layer.forwardAsync(x)]
      const outcomes = /** @type {any[]} */ (await Promise.allSettled(calls))
      for (const { reason } of [outcomes[1], outcomes[3]]) {
        t.is(reason.code, 'INTERNAL')
        t.regex(reason.message, /on purpose/)
      }
      for (const { value } of [outcomes[0], outcomes[2], outcomes[4]]) t.is(bits(value.output), expected)
    }
    t.is(bits((await layer.forwardAsync(x)).output), expected)
  })

  test(`${kind}: layers survive a panic, with their parameters and their mode`, async (t) => {
    const { panic, attention } = await open()
    const layer = new attention.SelfAttention(config)
    const trained = new attention.CrossAttention(config).train()
    layer.loadStateDict(new attention.SelfAttention({ ...config, seed: 77 }).stateDict())
    const results = () => [
      bits(layer.forward(x).output),
      bits(trained.forward(x, x, { seed: 5 }).output),
      Object.values(layer.stateDict()).map(bits),
      trained.numParameters,
      layer.config
    ]
    const before = results()
    for (let repeat = 0; repeat < 3; repeat++) {
      faultOf(t, panic)
      t.deepEqual(results(), before)
    }
    faultOf(t, panic)
    layer.loadStateDict(layer.stateDict())
    t.deepEqual(results(), before)
    layer.dispose()
    t.is(faultOf(t, () => layer.forward(x)).code, 'DISPOSED')
  })

  test(`${kind}: an optimizer survives a panic, with its averages`, async (t) => {
    const { panic, training } = await open()
    const make = () => new training.Linear({ inFeatures: 3, outFeatures: 4, seed: 2 })
    const [layer, twin] = [make(), make()]
    const [optimizer, other] = [new training.AdamW(layer), new training.AdamW(twin)]
    const gradients = { weight: normal([4, 3], 1), bias: normal([4], 2) }
    for (let repeat = 0; repeat < 3; repeat++) {
      for (const each of [optimizer, other]) each.step(gradients)
      const before = optimizer.stateDict()
      faultOf(t, panic)
      t.deepEqual(optimizer.stateDict(), before)
      // This one is revived by its step.
      faultOf(t, panic)
    }
    optimizer.step(gradients)
    const trained = layer.stateDict()
    other.step(gradients)
    t.deepEqual(twin.stateDict(), trained)
    optimizer.dispose()
    t.is(faultOf(t, () => optimizer.step(gradients)).code, 'DISPOSED')
  })

  test(`${kind}: a cache survives a panic, with its keys and its position`, async (t) => {
    const { panic, attention } = await open()
    const [k, q] = [normal([1, 2, 5, 4], 1), normal([1, 2, 2, 4], 2)]
    const plain = new attention.KVCache({ kvHeads: 2, headDim: 4, capacity: 20 }).append(k, k)
    const ring = new attention.KVCache({ kvHeads: 2, headDim: 4, capacity: 6, window: 3 })
    for (let block = 0; block < 4; block++) ring.append(k, k)
    const results = () => [plain, ring].map((cache) => [cache.length, bits(cache.attend(q).output)])
    const before = results()
    for (let repeat = 0; repeat < 3; repeat++) {
      faultOf(t, panic)
      t.deepEqual(results(), before)
    }
    faultOf(t, panic)
    t.is(plain.append(k, k).length, 10)
    t.is(ring.append(k, k).length, 25)
    t.is(faultOf(t, () => ring.truncate(19)).argument, 'length')
    for (const cache of [plain, ring]) cache.dispose()
  })

  test(`${kind}: a layer that is disposed after a panic, or never used again, does no harm`, async (t) => {
    const { panic, attention } = await open()
    const layer = new attention.SelfAttention(config)
    new attention.SelfAttention(config)
    faultOf(t, panic)
    layer.dispose()
    layer.dispose()
    t.is(faultOf(t, () => layer.stateDict()).code, 'DISPOSED')
    t.is(attention.softmax(x).data.length, 64)
  })

  test(`${kind}: any other exception from a backend is INTERNAL and keeps its cause`, async (t) => {
    for (const thrown of [new Error('odd'), new Error('{broken'), new Error('{"no":"code"}'), 'a text', undefined]) {
      const { backend, attention } = await open()
      const { call } = /** @type {Binding} */ (backend.binding)
      let failing = true
      backend.use({
        .../** @type {Binding} */ (backend.binding),
        call(...given) {
          if (failing) throw thrown
          return call(...given)
        }
      })
      const error = /** @type {Error & { code: string }} */ (t.throws(() => attention.softmax(x)))
      t.is(error.code, 'INTERNAL')
      t.is(error.cause, thrown)
      failing = false
      t.is(attention.softmax(x).data.length, 64)
    }
  })
}

test('wasm: if no new instance can start after a trap, the error is the same, and the next fault retries', async (t) => {
  const loaded = await loadWithFaults('wasm')
  let restarts = 0
  const backend = new Backend(() => ({
    ...loaded,
    restart() {
      if (++restarts < 3) throw new RangeError('WebAssembly.Instance(): Out of memory')
      return /** @type {() => Binding} */ (loaded.restart)()
    }
  }))
  const attention = createApi(backend)
  const trap = new WebAssembly.RuntimeError('unreachable')
  backend.start()
  backend.use({
    .../** @type {Binding} */ (backend.binding),
    call() {
      throw trap
    }
  })
  for (let fault = 1; fault <= 3; fault++) {
    t.like(
      t.throws(() => attention.softmax(x)),
      { code: 'INTERNAL', cause: trap }
    )
    t.is(restarts, fault)
  }
  t.is(attention.softmax(x).data.length, 64)
})

test('wasm: a trap, or a stack overflow, starts a new instance of the same module', async (t) => {
  const loaded = await loadWithFaults('wasm')
  const backend = new Backend(() => loaded)
  const attention = createApi(backend)
  const first = backend.start()
  for (const thrown of [
    new WebAssembly.RuntimeError('unreachable'),
    new RangeError('Maximum call stack size exceeded')
  ]) {
    backend.use({
      ...first,
      call() {
        throw thrown
      }
    })
    const broken = backend.binding
    t.is(faultOf(t, () => attention.softmax(x)).code, 'INTERNAL')
    t.not(backend.binding, broken)
    t.not(backend.binding, first)
    t.is(attention.softmax(x).data.length, 64)
  }
})

test('wasm: an invalid input starts no new instance', async (t) => {
  const loaded = await loadWithFaults('wasm')
  const backend = new Backend(() => loaded)
  const attention = createApi(backend)
  const first = backend.start()
  t.is(faultOf(t, () => attention.linear(x, normal([2, 3], 1))).code, 'SHAPE')
  t.is(backend.binding, first)
})

const x = normal([1, 4, 16], 1)
