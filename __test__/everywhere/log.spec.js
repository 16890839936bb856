// The log of init({ log }) and loadBackend(kind, { log }): which lines it receives, their contents, and no output
// without a log.
import test from 'ava'
import * as contract from '@ruvector/attention'
import { onBothBackends } from '../support/backends.js'

const x = { data: new Float32Array(8), shape: [1, 1, 1, 8] }
const small = { data: new Float32Array(4), shape: [1, 1, 1, 4] }
const TIME = String.raw`\d+\.\d{3} ms$`

/**
 * An API with a log, and a function that returns the lines since its last call.
 *
 * @param {import('@ruvector/attention').BackendKind} kind
 */
async function logged(kind) {
  /** @type {string[]} */
  const lines = []
  const api = await contract.loadBackend(kind, { log: (line) => void lines.push(line), threads: 2 })
  return { api, take: () => lines.splice(0) }
}

/**
 * @param {import('ava').ExecutionContext} t
 * @param {readonly string[]} lines
 * @param {readonly string[]} patterns  one pattern per line
 */
function holds(t, lines, patterns) {
  t.is(lines.length, patterns.length, lines.join('\n'))
  patterns.forEach((pattern, index) => t.regex(lines[index], new RegExp(`^ruvector-attention: ${pattern}`)))
}

const title = (/** @type {string} */ text) => text.replaceAll(/[[\]]/g, String.raw`\$&`)

onBothBackends((kind, plain) => {
  test(`${kind}: the first line names the chosen backend`, async (t) => {
    const { api, take } = await logged(kind)
    const { simd, threads, version } = api.backend()
    const many = threads === 1 ? '1 thread' : `${threads} threads`
    t.deepEqual(take(), [`ruvector-attention: ${kind} (${simd}), ${many}, version ${version}`])
  })

  test(`${kind}: each operation has a line with its shapes and its time, and the same result as without a log`, async (t) => {
    const { api, take } = await logged(kind)
    take()
    const mask = { data: Uint8Array.of(1), shape: [1, 1] }
    t.deepEqual(
      api.scaledDotProductAttention(x, x, x, { mask, causal: true }),
      plain.scaledDotProductAttention(x, x, x, { mask, causal: true })
    )
    const layer = new api.SelfAttention({ numHeads: 2, headDim: 4, seed: 1 })
    t.teardown(() => layer.dispose())
    layer.forward({ data: new Float32Array(16), shape: [1, 2, 8] })
    api.softmax({ data: Float32Array.of(1), shape: [] })
    holds(t, take(), [
      title(`scaledDotProductAttention [1,1,1,8] [1,1,1,8] [1,1,1,8] [1,1]: ${TIME}`),
      title(`createSelfAttention: ${TIME}`),
      title(`multiHeadAttention [1,2,8]: ${TIME}`),
      title(`softmax []: ${TIME}`)
    ])
  })

  test(`${kind}: a failing call has a line with its error code, and the next one works`, async (t) => {
    const { api, take } = await logged(kind)
    take()
    t.throws(() => api.scaledDotProductAttention(x, small, small), { name: 'AttentionError', code: 'SHAPE' })
    api.softmax(small)
    holds(t, take(), [
      title(`scaledDotProductAttention [1,1,1,8] [1,1,1,4] [1,1,1,4]: SHAPE after ${TIME}`),
      title(`softmax [1,1,1,4]: ${TIME}`)
    ])
  })

  test(`${kind}: asynchronous calls have a line when they end, also after an error or a signal`, async (t) => {
    const { api, take } = await logged(kind)
    take()
    const { output } = await api.scaledDotProductAttentionAsync(x, x, x)
    t.deepEqual(output, plain.scaledDotProductAttention(x, x, x).output)
    const first = take()
    const elsewhere = api.backend().threads > 1 ? ' elsewhere' : ''
    // If a policy forbids workers, the first such call detects it.
    const rejected = api.backend().rejected.map(({ candidate }) => `rejected ${candidate}: `)
    const attempted = elsewhere || rejected.length > 0 ? ' elsewhere' : ''
    const call = 'scaledDotProductAttention [1,1,1,8] [1,1,1,8] [1,1,1,8]'
    holds(t, first, [...rejected, title(`${call}${attempted}: ${TIME}`)])
    await t.throwsAsync(api.scaledDotProductAttentionAsync(x, small, small), { code: 'SHAPE' })
    holds(t, take(), [
      title(`scaledDotProductAttention [1,1,1,8] [1,1,1,4] [1,1,1,4]${elsewhere}: SHAPE after ${TIME}`)
    ])
    if (!elsewhere) return
    const signal = AbortSignal.abort(new RangeError('enough'))
    await t.throwsAsync(api.scaledDotProductAttentionAsync(x, x, x, { signal }), { instanceOf: RangeError })
    holds(t, take(), [title(`${call} elsewhere: RangeError after ${TIME}`)])
  })

  test(`${kind}: concurrent calls have one line each`, async (t) => {
    const { api, take } = await logged(kind)
    take()
    await Promise.all([1, 2, 3].map((count) => api.scaledDotProductAttentionAsync(x, ofLength(count), ofLength(count))))
    const lines = take().filter((line) => !line.includes('rejected'))
    t.deepEqual(lines.map((line) => line.match(/\[1,1,(\d),8\] \[1,1,\d,8\](?: elsewhere)?: /)?.[1]).sort(), [
      '1',
      '2',
      '3'
    ])
  })

  test(`${kind}: an exception from a log propagates from the call, and the next call works`, async (t) => {
    let isBroken = false
    const log = () => {
      if (isBroken) throw new RangeError('full')
    }
    const api = await contract.loadBackend(kind, { log })
    isBroken = true
    t.throws(() => api.softmax(x), { instanceOf: RangeError, message: 'full' })
    await t.throwsAsync(api.scaledDotProductAttentionAsync(x, x, x), { instanceOf: RangeError })
    isBroken = false
    t.deepEqual(api.softmax(x), plain.softmax(x))
  })

  test(`${kind}: a log may call the API that it logs`, async (t) => {
    /** @type {unknown[]} */
    const seen = []
    const log = (/** @type {string} */ line) => {
      if (line.includes('softmax')) seen.push(api.gelu(x))
    }
    const api = await contract.loadBackend(kind, { log })
    t.deepEqual(api.softmax(x), plain.softmax(x))
    t.deepEqual(seen, [plain.gelu(x)])
  })

  test(`${kind}: a log receives no lines of another API`, async (t) => {
    const [one, other] = [await logged(kind), await logged(kind)]
    one.take()
    other.take()
    one.api.softmax(x)
    plain.softmax(x)
    t.is(one.take().length, 1)
    t.deepEqual(other.take(), [])
  })

  test(`${kind}: a log that is not a function is rejected`, async (t) => {
    for (const log of /** @type {any[]} */ ([true, 'console', 1, {}, console])) {
      const expected = { name: 'AttentionError', code: 'OPTION', message: /^log: expected a function, got / }
      await t.throwsAsync(contract.loadBackend(kind, { log }), expected)
      await t.throwsAsync(contract.init({ log }), expected)
    }
    const api = await contract.loadBackend(kind, /** @type {any} */ ({ log: null }))
    t.is(api.backend().kind, kind)
  })
})

/** @param {number} length */
function ofLength(length) {
  return { data: new Float32Array(8 * length), shape: [1, 1, length, 8] }
}
