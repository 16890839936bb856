// Measures the milliseconds of `init()` and the first call in a fresh browser, which the argument names. Needs the
// repository, whose tests drive the same browsers.

import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { extname } from 'node:path'
import { reported } from '../building.js'

/** @typedef {import('../../__test__/consumers/browsers.mjs').Browser} Browser */

const root = new URL('../..', import.meta.url)
/** @type {Record<string, string>} */
const TYPES = { '.html': 'text/html', '.js': 'text/javascript' }

/** The clock starts once the page has loaded the script, which excludes the network. */
const PAGE = `<!doctype html>
<title>init</title>
<script type="module">
  globalThis.outcome = import('/lib/entries/browser.js').then(async (entry) => {
    const x = { data: new Float32Array(8).fill(1), shape: [1, 1, 1, 8] }
    const start = performance.now()
    await entry.init()
    entry.scaledDotProductAttention(x, x, x)
    return performance.now() - start
  })
</script>`

const server = createServer(async (request, response) => {
  const path = request.url ?? '/'
  try {
    const body = path === '/' ? PAGE : await readFile(new URL(`.${new URL(path, 'http://x').pathname}`, root))
    response.writeHead(200, { 'content-type': TYPES[extname(path)] ?? 'text/html' }).end(body)
  } catch {
    response.writeHead(404).end()
  }
})

/** @param {string} name @returns {Promise<Browser>} */
async function open(name) {
  const file = new URL('__test__/consumers/browsers.mjs', root)
  if (!existsSync(file)) throw new Error('driving browsers needs the repository')
  /** @type {typeof import('../../__test__/consumers/browsers.mjs')} */
  const { openChromium, openFirefox, openWebKit } = await import(file.href)
  /** @type {typeof import('../../tools/consumers.mjs')} */
  const { installTools, isInstalled } = await import(new URL('tools/consumers.mjs', root).href)
  const [start, driver] = /** @type {const} */ ({
    Chromium: [openChromium, undefined],
    Firefox: [openFirefox, 'firefox'],
    WebKitGTK: [openWebKit, 'webkit']
  })[/** @type {'Chromium' | 'Firefox' | 'WebKitGTK'} */ (name)]
  if (driver && !isInstalled(driver)) await reported(`installing the driver of ${name}`, () => installTools(driver))
  return start()
}

async function measure() {
  const browser = await open(process.argv[2])
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)))
  try {
    const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
    return { milliseconds: await browser.outcome(`http://127.0.0.1:${port}/`), version: browser.version }
  } finally {
    await browser.close()
    server.close()
  }
}

try {
  console.log(JSON.stringify(await measure()))
} catch (error) {
  console.log(JSON.stringify({ error: error instanceof Error ? error.message : String(error) }))
}
