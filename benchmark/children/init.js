// Measures, in a separate process, the milliseconds from import to the first result. The argument is a backend, or
// `browser` for the entry that browsers use.

/** @typedef {Pick<import('../../index.js').Attention, 'scaledDotProductAttention'>} Api */

const kind = process.argv[2]

/** @returns {Promise<Api>} */
async function load() {
  if (kind === 'browser') {
    const entry = await import('../../lib/entries/browser.js')
    await entry.init()
    return /** @type {any} */ (entry)
  }
  const { loadBackend } = await import('../../index.js')
  return loadBackend(/** @type {import('../../index.js').BackendKind} */ (kind))
}

const start = performance.now()
const api = await load()
const x = { data: new Float32Array(8).fill(1), shape: [1, 1, 1, 8] }
api.scaledDotProductAttention(x, x, x)
console.log(JSON.stringify({ milliseconds: performance.now() - start }))
