// Checks the server of examples/rerank-server with a model whose answers wait until they are released, so that its
// queue, time limit and cancellation are seen at work; and with a real one. Prints what it has seen.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { loadModel } from '@ruvector/attention/models'

// The project has a copy of the example.
const { createServer } = await import(new URL('server.js', import.meta.url).href)
const documents = ['a man is eating food', 'the sky is blue', 'someone eats a meal']
const limits = { running: 1, waiting: 2, timeout: 30_000 }

/** A model that answers once it is told to, and that counts cancelled calls. */
function heldModel() {
  const held = { calls: 0, cancelled: 0, release: () => {}, rerank }
  const released = new Promise((resolve) => (held.release = () => resolve(undefined)))
  /** @param {string} _ @param {string[]} texts @param {{ signal: AbortSignal }} options */
  async function rerank(_, texts, { signal }) {
    held.calls++
    await new Promise((resolve, reject) => {
      released.then(resolve)
      signal.addEventListener('abort', () => {
        held.cancelled++
        reject(signal.reason)
      })
    })
    return Array.from(texts.keys(), (index) => ({ index, score: 1 }))
  }
  return held
}

/** @param {any} model @param {object} [own] */
async function serve(model, own) {
  const app = createServer({ model, ...limits, ...own })
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  const post = (/** @type {unknown} */ body, /** @type {RequestInit} */ init = {}) =>
    fetch(`${address}/rerank`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: typeof body === 'string' ? body : JSON.stringify(body),
      ...init
    })
  const health = async () => (await fetch(`${address}/health`)).json()
  /** Waits until the server has this load. @param {number} running @param {number} waiting */
  async function reach(running, waiting) {
    for (let tries = 0; tries < 3000; tries++) {
      const load = await health()
      if (load.running === running && load.waiting === waiting) return
      await sleep(5)
    }
    throw new Error(`never ${running} running and ${waiting} waiting`)
  }
  return { app, post, reach }
}
const question = { query: 'who eats', documents }

async function answers() {
  const model = await loadModel(process.argv[2])
  const { app, post } = await serve(model)
  const expected = await model.rerank(question.query, documents, { topK: 2 })
  const { results } = await (await post({ ...question, topK: 2 })).json()
  assert.deepEqual(
    results,
    expected.map(({ index, score }) => ({ index, score, text: documents[index] }))
  )
  assert.deepEqual(await (await post({ ...question, documents: [] })).json(), { results: [] })
  const refusals = [
    ['no JSON', 400],
    [{}, 400],
    [{ ...question, documents: [1] }, 400],
    [{ ...question, topK: 0 }, 400],
    [{ ...question, top: 1 }, 400],
    [{ ...question, query: 'x'.repeat(2_000_000) }, 413]
  ]
  for (const [body, status] of refusals) {
    const response = await post(body)
    assert.equal(response.status, status)
    assert.equal(typeof (await response.json()).error, 'string')
  }
  await app.close()
  model.dispose()
  return 'answers'
}

async function bound() {
  const model = heldModel()
  const { app, post, reach } = await serve(model)
  const accepted = [post(question), post(question), post(question)]
  await reach(1, 2)
  const response = await post(question)
  assert.deepEqual([response.status, response.headers.get('retry-after')], [503, '1'])
  assert.match((await response.json()).error, /2 requests are waiting/)
  model.release()
  for (const answer of accepted) assert.equal((await answer).status, 200)
  assert.deepEqual([model.calls, model.cancelled], [3, 0])
  await app.close()
  return 'bound'
}

async function cancellation() {
  const model = heldModel()
  const { app, post, reach } = await serve(model)
  const [first, second] = [new AbortController(), new AbortController()]
  const leave = (/** @type {AbortController} */ { signal }) =>
    assert.rejects(post(question, { signal }), { name: 'AbortError' })
  const runs = leave(first)
  await reach(1, 0)
  const waits = leave(second)
  await reach(1, 1)
  // One that waits leaves the queue, and one that runs is cancelled.
  second.abort()
  await reach(1, 0)
  first.abort()
  await reach(0, 0)
  await Promise.all([runs, waits])
  assert.deepEqual([model.calls, model.cancelled], [1, 1])
  await app.close()
  return 'cancellation'
}

async function lateness() {
  const model = heldModel()
  const { app, post } = await serve(model, { timeout: 50 })
  for (const response of await Promise.all([post(question), post(question)])) {
    assert.equal(response.status, 503)
    assert.match((await response.json()).error, /no result within 50 ms/)
  }
  // The second may begin in its last moment.
  assert.equal(model.cancelled, model.calls)
  await app.close()
  return 'time limit'
}

async function closing() {
  const model = heldModel()
  const { app, post, reach } = await serve(model)
  const accepted = [post(question), post(question)]
  await reach(1, 1)
  const closed = app.close()
  await sleep(20)
  await assert.rejects(post(question))
  model.release()
  for (const answer of accepted) assert.equal((await answer).status, 200)
  await closed
  return 'stop'
}

const seen = []
for (const check of [answers, bound, cancellation, lateness, closing]) seen.push(await check())
console.log(seen.join(', '))
