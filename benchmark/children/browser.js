// The milliseconds that `init()` and the first call take in Chromium, in a fresh page. Needs the repository's own tools: its
// browser test drives the same browser.

import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { extname } from 'node:path'

const root = new URL('../..', import.meta.url)
/** @type {Record<string, string>} */
const TYPES = { '.html': 'text/html', '.js': 'text/javascript' }
const PAGE = '<!doctype html><title>init</title>'

const server = createServer(async (request, response) => {
  const path = request.url ?? '/'
  try {
    const body = path === '/' ? PAGE : await readFile(new URL(`.${new URL(path, 'http://x').pathname}`, root))
    response.writeHead(200, { 'content-type': TYPES[extname(path)] ?? 'text/html' }).end(body)
  } catch {
    response.writeHead(404).end()
  }
})

async function measure() {
  const { findBrowser } = await import(new URL('scripts/setup.mjs', root).href)
  const executablePath = findBrowser()
  if (!executablePath) throw new Error('no Chromium or Chrome is there')
  const { chromium } = await import('playwright-core')
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)))
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] })
  try {
    const page = await browser.newPage()
    await page.goto(`http://127.0.0.1:${port}/`)
    return await page.evaluate(async () => {
      const address = '/lib/entries/browser.js'
      const entry = await import(address)
      const x = { data: new Float32Array(8).fill(1), shape: [1, 1, 1, 8] }
      const start = performance.now()
      await entry.init()
      entry.scaledDotProductAttention(x, x, x)
      return performance.now() - start
    })
  } finally {
    await browser.close()
  }
}

try {
  console.log(JSON.stringify({ milliseconds: await measure() }))
} finally {
  server.close()
}
