// The example that streams tokens: results with and without caches are the same.
import test from 'ava'
import { Decoder, random, sample, shape } from '../../examples/decode/model.js'
import { onBothBackends } from '../support/backends.js'
import { close } from '../support/tensors.js'

onBothBackends((kind, attention) => {
  test(`${kind}: a decoder streams the same rows as for the whole text`, (t) => {
    const model = new Decoder(attention, 3)
    const next = random(5)
    const caches = model.createCaches(24)
    t.teardown(() => caches.forEach((cache) => cache.dispose()))
    const tokens = [1, 2, 3, 4, 5]
    // The prompt at once, then token by token.
    const rows = [...model.forward(tokens, caches).data]
    while (tokens.length < 24) {
      tokens.push(sample({ data: Float32Array.from(rows), shape: [1, tokens.length, shape.vocabulary] }, 0.7, next))
      rows.push(...model.forward(tokens.slice(-1), caches).data)
    }
    const whole = model.forward(tokens)
    t.deepEqual(whole.shape, [1, 24, shape.vocabulary])
    close(t, rows, whole, 5e-5)
    t.true(new Set(tokens.slice(5)).size > 5, 'it says more than one thing')
  })
})
