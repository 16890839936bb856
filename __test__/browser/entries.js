// Registers the tests of the entries as a page loads them without a bundler.
import test from './ava.js'
import { smoke } from './smoke.js'

for (const name of ['browser', 'external']) {
  test(`the entry ${name}.js starts and computes as the server hands it out`, async (t) => {
    t.regex(await smoke(await import(`/lib/entries/${name}.js`)), /^(simd128|relaxed-simd)$/)
  })
}

test('the entry browser.js starts and computes in a module worker', async (t) => {
  const worker = new Worker('/__test__/browser/worker.js', { type: 'module' })
  t.teardown(() => worker.terminate())
  const answer = await new Promise((resolve, reject) => {
    worker.addEventListener('message', ({ data }) => resolve(data))
    worker.addEventListener('error', ({ message }) => reject(new Error(message || 'the worker did not load')))
  })
  t.is(answer.error, undefined)
})

test('the content security policy holds: text is not run as code', (t) => {
  t.throws(() => new Function('return 1'), { instanceOf: EvalError })
})
