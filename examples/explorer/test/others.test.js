// The built page in Firefox and WebKit, if the machine has them: it starts, draws, follows a setting, and computes a
// long text.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import puppeteer from 'puppeteer-core'
import { serve } from './serve.js'

const TIME_LIMIT = 45_000

/** Runs in the page: true if no work is in progress and the picture is shown. */
const isSettled = `!document.body.hasAttribute('data-busy') && document.querySelector('#pictures svg') !== null`
/** Runs in the page: selects hyperbolic attention. */
const chooseHyperbolic = `document.querySelector('input[value="hyperbolic"]').click()`
/** Runs in the page: selects a head on the map. */
const chooseHead = `document.querySelector('input[value="0.2"]').click()`
/** Runs in the page: selects a text that is long enough for the backend's own workers. */
const chooseLong = `(() => {
  const length = document.querySelector('#length')
  length.value = '1024'
  length.dispatchEvent(new Event('change', { bubbles: true }))
})()`
/** Runs in the page: describes its contents. */
const seen = `JSON.stringify({
  tokens: document.querySelectorAll('#tokens input').length,
  kinds: [...document.querySelectorAll('#pictures figure')].map((figure) => figure.dataset.kind),
  arcs: document.querySelectorAll('#arcs .arc').length,
  steps: document.querySelectorAll('#step-rows tr').length,
  head: document.querySelector('#map-said').textContent,
  status: document.querySelector('#status').textContent,
  facts: document.querySelector('#facts').textContent
})`

/** @type {Awaited<ReturnType<typeof serve>>} */
let server

before(async () => {
  server = await serve()
})

after(() => server?.close())

/**
 * @param {readonly string[]} names  of programs @param {readonly string[]} [places]  in addition to the usual folders
 */
function findProgram(names, places = []) {
  const folders = (process.env.PATH ?? '').split(delimiter)
  return [...names.flatMap((name) => folders.map((folder) => join(folder, name))), ...places].find((path) =>
    existsSync(path)
  )
}

/**
 * @param {(script: string) => Promise<any>} evaluate
 * @param {string} engine
 */
async function walkThrough(evaluate, engine) {
  await until(() => evaluate(isSettled), `${engine} drew no picture`)
  const first = JSON.parse(await evaluate(seen))
  assert.equal(first.tokens, 16)
  assert.deepEqual(first.kinds, ['heatmap'])
  assert.match(first.facts, /WebAssembly, (relaxed-simd|simd128)/)
  assert.match(first.facts, /Largest difference from PyTorch\d(\.\d)?e-[67]/)
  assert.ok(first.arcs > 5)
  assert.equal(first.steps, 16)
  await evaluate(chooseHead)
  const head = async () => JSON.parse(await evaluate(seen)).head
  await until(async () => (await head()).startsWith('Layer 0, head 2'), `${engine} chose no head`)
  await evaluate(chooseHyperbolic)
  const kinds = async () => JSON.parse(await evaluate(seen)).kinds
  await until(async () => (await kinds())[0] === 'disk', `${engine} drew no disk`)
  assert.deepEqual(await kinds(), ['disk', 'heatmap'])
  await evaluate(chooseLong)
  const status = async () => JSON.parse(await evaluate(seen)).status
  await until(async () => /^1,024 tokens in .*one run/.test(await status()), `${engine} did not compute a long text`)
  return first
}

/** @param {() => Promise<any>} condition @param {string} otherwise */
async function until(condition, otherwise) {
  const end = Date.now() + TIME_LIMIT
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(otherwise)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

/** @param {import('node:test').TestContext} t */
async function inFirefox(t) {
  const executablePath = findProgram(['firefox', 'firefox-esr'])
  if (!executablePath) return t.skip('no Firefox was found: Debian has firefox-esr')
  const browser = await puppeteer.launch({ browser: 'firefox', executablePath, headless: true })
  try {
    const page = await browser.newPage()
    await page.goto(server.address)
    const { status, facts } = await walkThrough((script) => page.evaluate(script), 'Firefox')
    t.diagnostic(`${await browser.version()}: ${status} ${facts.match(/WebAssembly, [\w-]+/)}`)
  } finally {
    await browser.close()
  }
}

// ── WebKit ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A virtual display, as WebKit's browser requires one. */
async function openDisplay() {
  const name = `:${90 + (process.pid % 900)}`
  const display = spawn('Xvfb', [name, '-screen', '0', '1280x900x24', '-nolisten', 'tcp'], { stdio: 'ignore' })
  await until(async () => existsSync(`/tmp/.X11-unix/X${name.slice(1)}`), 'Xvfb did not start')
  return { name, close: () => display.kill() }
}

/**
 * The part of WebDriver's protocol that the test needs.
 *
 * @param {string} address
 */
function driverAt(address) {
  return async (/** @type {string} */ path, /** @type {unknown} */ body) => {
    const response = await fetch(address + path, {
      method: body === undefined ? 'GET' : 'POST',
      ...(body !== undefined && { body: JSON.stringify(body) })
    })
    const { value } = await response.json()
    if (!response.ok) throw new Error(value.message ?? JSON.stringify(value))
    return value
  }
}

/** @param {import('node:test').TestContext} t */
async function inWebKit(t) {
  const program = findProgram(['WebKitWebDriver'])
  if (!program || !findProgram(['Xvfb'])) return t.skip('no WebKit was found: Debian has webkit2gtk-driver and xvfb')
  const folder = mkdtempSync(join(tmpdir(), 'explorer-webkit-'))
  const display = await openDisplay()
  const port = 20_000 + (process.pid % 20_000)
  const driver = spawn(program, ['--host=127.0.0.1', `--port=${port}`], {
    stdio: 'ignore',
    detached: true,
    env: { ...process.env, DISPLAY: display.name, XDG_CACHE_HOME: folder, XDG_DATA_HOME: folder, HOME: folder }
  })
  try {
    const ask = driverAt(`http://127.0.0.1:${port}`)
    await until(() => ask('/status', undefined).then(Boolean, () => false), 'WebKitWebDriver did not start')
    const { sessionId, capabilities } = await ask('/session', { capabilities: { alwaysMatch: {} } })
    await ask(`/session/${sessionId}/url`, { url: server.address })
    const evaluate = (/** @type {string} */ script) =>
      ask(`/session/${sessionId}/execute/sync`, { script: `return ${script}`, args: [] })
    const { status, facts } = await walkThrough(evaluate, 'WebKit')
    const { browserName, browserVersion } = capabilities
    t.diagnostic(`${browserName} ${browserVersion}: ${status} ${facts.match(/WebAssembly, [\w-]+/)}`)
    await fetch(`http://127.0.0.1:${port}/session/${sessionId}`, { method: 'DELETE' })
  } finally {
    // Also kill the browser's processes, which would still write their caches.
    process.kill(-Number(driver.pid), 'SIGKILL')
    await once(driver, 'exit')
    display.close()
    await rm(folder, { recursive: true, force: true, maxRetries: 10 })
  }
}

// Their start is mostly waiting.
describe('in other browsers', { concurrency: true }, () => {
  test('it runs in Firefox', inFirefox)
  test('it runs in WebKit', inWebKit)
})
