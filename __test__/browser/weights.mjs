// Opens a sharded model of 3 GB in a page, by ranges over HTTP and from files that the user picks. Reading one layer
// must stay within the limits of time and memory below. `node __test__/browser/weights.mjs`

import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import { rangesOf } from '../../tools/ranges.mjs'
import { root } from '../../tools/shell.mjs'
import { writeSparseModel } from '../support/files.js'
import { openPage, startBrowser } from './pipe.mjs'

/** Maximum milliseconds, and maximum growth of the page's process in bytes, without the browser's own code. */
const [TIME, MEMORY] = [1000, 50e6]
/** Number of attempts, since other programs may use the processor in the meantime. */
const ATTEMPTS = 5

/** Reads the layer under a prefix, from an index by its URL or from the picked file that contains it. */
const PROGRAM = `
  import { openSafetensors } from './lib/entries/browser.js'
  const picked = () => [...document.querySelector('input').files]
  globalThis.read = async (address, prefix) => {
    const start = performance.now()
    const files = await Promise.all((address ? [address] : picked()).map((source) => openSafetensors(source)))
    const file = files.find(({ names }) => names.some((name) => name.startsWith(prefix + '.')))
    const state = await file.stateDict({ prefix })
    const time = performance.now() - start
    await Promise.all(files.map((file) => file.close()))
    return { time, count: Object.keys(state).length, first: state['attention.self.query.weight'].data[0] }
  }`

/**
 * Reads a layer in new pages, until one run stays within the limits.
 *
 * @param {import('./pipe.mjs').Send} send
 * @param {string} address  of the page
 * @param {{ how: string, layer: number, index?: string, files?: readonly string[] }} what
 */
async function attempt(send, address, { how, layer, index, files }) {
  let isWithin = false
  for (let count = 0; count < ATTEMPTS && !isWithin; count++) {
    const page = await openPage(send, address)
    if (files) await page.pick('input', files)
    const before = await memoriesOf(send)
    const { time, ...found } = await page.evaluate(`read(${JSON.stringify(index)}, 'encoder.layer.${layer}')`)
    // The page's process cannot be identified, and others, such as a spare one for the next page, grow too.
    const growths = [...(await memoriesOf(send))].map(([id, { peak, code }]) => {
      const start = before.get(id) ?? { peak, code }
      return peak - start.peak - (code - start.code)
    })
    const memory = Math.max(...growths)
    console.log(`  ${how}: ${time.toFixed(0)} ms, ${(memory / 1e6).toFixed(1)} MB`)
    if (found.count !== 16 || found.first !== layer) throw new Error(`${how}: read ${JSON.stringify(found)}`)
    // Only Linux reports the peak.
    isWithin = time < TIME && !(memory >= MEMORY)
    await page.close()
  }
  return isWithin
}

/**
 * Memory of each process that runs pages: its peak and the mapped code, in bytes; NaN if the system does not report it.
 *
 * @param {import('./pipe.mjs').Send} send
 */
async function memoriesOf(send) {
  /** @type {{ processInfo: { type: string, id: number }[] }} */
  const { processInfo } = await send('SystemInfo.getProcessInfo')
  return new Map(processInfo.filter(({ type }) => type === 'renderer').map(({ id }) => [id, memoryOf(id)]))
}

/** @param {number} id */
function memoryOf(id) {
  let status = ''
  try {
    status = readFileSync(`/proc/${id}/status`, 'latin1')
  } catch {
    // Not Linux, or the process has ended.
  }
  const bytesOf = (/** @type {string} */ name) =>
    1024 * Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1])
  return { peak: bytesOf('VmHWM'), code: bytesOf('RssFile') }
}

/**
 * Serves the page, its program, and a folder with range requests.
 *
 * @param {string} folder
 */
async function serve(folder) {
  const { outputFiles } = await build({
    stdin: { contents: PROGRAM, resolveDir: root },
    bundle: true,
    write: false,
    format: 'esm',
    target: 'es2022',
    conditions: ['browser'],
    logLevel: 'warning'
  })
  const pages = /** @type {Record<string, [type: string, body: string]>} */ ({
    '/': ['text/html', '<!doctype html><input type="file" multiple><script type="module" src="/program.js"></script>'],
    '/program.js': ['text/javascript', outputFiles[0].text]
  })
  const files = rangesOf(folder)
  const server = createServer((request, response) => {
    const [type, body] = pages[request.url ?? ''] ?? []
    if (type === undefined) return files(request, response)
    return response.setHeader('content-type', type).end(body)
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  return { address: `http://127.0.0.1:${port}/`, close: () => server.close() }
}

const folder = await mkdtemp(join(tmpdir(), 'ruvector-attention-'))
try {
  const [sharded, whole] = await Promise.all([4, 1].map((shards) => writeSparseModel(folder, shards)))
  const layer = sharded.layers - 1
  const { address, close } = await serve(folder)
  const browser = startBrowser()
  const { send } = browser
  try {
    console.log((await send('Browser.getVersion')).product)
    const cases = [
      { how: 'a sharded model, by ranges over HTTP', layer, index: 'model.safetensors.index.json' },
      { how: 'the shards, as files that the user picks', layer, files: sharded.shards },
      { how: 'one file of 3 GB, by ranges over HTTP', layer, index: '1.index.json' },
      { how: 'one file of 3 GB that the user picks', layer, files: whole.shards }
    ]
    let passed = 0
    for (const what of cases) passed += Number(await attempt(send, address, what))
    console.log(`browser: ${passed} passed, ${cases.length - passed} failed`)
    if (passed < cases.length) process.exitCode = 1
  } finally {
    await browser.close()
    close()
  }
} finally {
  await rm(folder, { recursive: true, force: true })
}
