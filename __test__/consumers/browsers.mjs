// Drivers for the browsers that consumers run in: Chromium, Firefox, and WebKitGTK, the closest to Safari on this
// platform.

import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { createServer } from 'node:net'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { chromium } from 'playwright-core'
import { BROWSER_ARGS, findBrowser, findFirefox, findProgram } from '../../tools/programs.mjs'
import { serveWith } from './processes.mjs'
import { installTools } from '../../tools/consumers.mjs'

/**
 * - `outcome`: opens an address and returns the promise that its page stores in `globalThis.outcome`.
 * - `texts`: opens an address and returns the texts that its page writes into the elements with these ids.
 *
 * @typedef {{ version: string, outcome: (address: string) => Promise<any>, texts: (address: string, ids: string[]) =>
 *   Promise<Record<string, string>>, close: () => Promise<void> }} Browser
 */

/** The reason why a consumer cannot run on this machine. */
export class NotHere extends Error {}

const patience = 30_000

/**
 * Runs in the page: waits for its outcome, or for the texts of elements.
 *
 * @param {{ patience: number, ids?: string[] }} wanted
 * @returns {Promise<{ value?: any, failed?: string }>}
 */
async function observe({ patience, ids }) {
  const page = /** @type {any} */ (globalThis)
  const texts = () =>
    Object.fromEntries((ids ?? []).map((id) => [id, document.querySelector(`#${id}`)?.textContent ?? '']))
  const isReady = () => (ids ? Object.values(texts()).every((text) => text !== '') : page.outcome !== undefined)
  const end = Date.now() + patience
  // The module may still be loading.
  while (!isReady() && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 10))
  if (ids) return { value: texts() }
  if (page.outcome === undefined) return { failed: 'the page left no outcome' }
  return page.outcome.then(
    (/** @type {unknown} */ value) => ({ value }),
    (/** @type {any} */ error) => ({ failed: `${error}\n${error?.stack}` })
  )
}

/** @param {{ value?: any, failed?: string }} outcome @param {readonly string[]} messages  the page's console output */
function unwrap({ value, failed }, messages) {
  if (failed !== undefined) throw new Error([failed, ...messages].join('\n  page: '))
  return value
}

/** @returns {Promise<Browser>} */
export async function openChromium() {
  const executablePath = findBrowser()
  if (!executablePath) throw new NotHere('no Chromium or Chrome was found: install one, or name it in CHROME_PATH')
  const browser = await chromium.launch({ executablePath, args: BROWSER_ARGS })
  return {
    version: `Chromium ${browser.version().split('.')[0]}`,
    ...observer(() => browser.newPage()),
    close: () => browser.close()
  }
}

/**
 * The common part of both drivers: each visit has a tab, whose messages explain a failure.
 *
 * @param {() => Promise<any>} newTab
 * @returns {Pick<Browser, 'outcome' | 'texts'>}
 */
function observer(newTab) {
  /** @param {string} address @param {string[]} [ids] */
  async function visit(address, ids) {
    const tab = await newTab()
    try {
      /** @type {string[]} */
      const messages = []
      tab.on('console', (/** @type {any} */ message) => messages.push(message.text()))
      tab.on('pageerror', (/** @type {unknown} */ error) => messages.push(String(error)))
      await tab.goto(address, { timeout: patience })
      return unwrap(await tab.evaluate(observe, { patience, ids }), messages)
    } finally {
      await tab.close()
    }
  }
  return { outcome: (address) => visit(address), texts: visit }
}

/** @returns {Promise<Browser>} */
export async function openFirefox() {
  const executablePath = findFirefox()
  if (!executablePath) throw new NotHere('no Firefox was found: install one, or name it in FIREFOX_PATH')
  const { default: puppeteer } = await importTool('firefox', 'puppeteer-core')
  const browser = await puppeteer.launch({ browser: 'firefox', executablePath, headless: true })
  const version = await browser.version()
  return {
    version: `Firefox ${version.match(/\d+/)?.[0]}`,
    ...observer(() => browser.newPage()),
    close: () => browser.close()
  }
}

/** @returns {Promise<Browser>} */
export async function openWebKit() {
  const driver = findProgram(['WebKitWebDriver'])
  const binary = findMiniBrowser()
  const screen = findProgram(['Xvfb'])
  if (!driver || !binary || !screen) {
    throw new NotHere("WebKitGTK's driver, its MiniBrowser or Xvfb is missing (Debian: webkit2gtk-driver, xvfb)")
  }
  const { Builder, Capabilities } = await importTool('webkit', 'selenium-webdriver')
  const display = await startScreen(screen)
  const port = await freePort()
  const service = spawn(driver, ['--host=127.0.0.1', `--port=${port}`], {
    stdio: 'ignore',
    env: { ...process.env, DISPLAY: display.name, WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: '1' }
  })
  const end = () => {
    service.kill()
    display.stop()
  }
  try {
    await answers(port)
    const wanted = new Capabilities({
      browserName: 'MiniBrowser',
      'webkitgtk:browserOptions': { binary, args: ['--automation'] }
    })
    const session = await new Builder().usingServer(`http://127.0.0.1:${port}`).withCapabilities(wanted).build()
    await session.manage().setTimeouts({ script: patience + 10_000, pageLoad: patience })
    const version = (await session.getCapabilities()).get('browserVersion')
    /** @param {string} address @param {string[]} [ids] */
    const visit = async (address, ids) => {
      await session.get(address)
      const script = `const [wanted, done] = arguments; (${observe})(wanted).then((o) => done(JSON.stringify(o)))`
      return unwrap(JSON.parse(await session.executeAsyncScript(script, { patience, ids })), [])
    }
    return {
      version: `WebKitGTK ${String(version).split('.').slice(0, 2).join('.')}`,
      outcome: (address) => visit(address),
      texts: visit,
      async close() {
        await session.quit()
        end()
      }
    }
  } catch (error) {
    end()
    throw error
  }
}

function findMiniBrowser() {
  const found = findProgram(['MiniBrowser'])
  if (found) return found
  const folders = ['/usr/lib', '/usr/libexec'].flatMap((folder) =>
    existsSync(folder) ? [folder, ...readdirSync(folder).map((name) => join(folder, name))] : []
  )
  return folders.map((folder) => join(folder, 'webkit2gtk-4.1', 'MiniBrowser')).find((path) => existsSync(path))
}

/** @param {string} program */
async function startScreen(program) {
  const { match, stop } = await serveWith(
    program,
    ['-displayfd', '1', '-screen', '0', '1024x768x24', '-nolisten', 'tcp'],
    {
      cwd: '/',
      ready: /^(\d+)\n/m
    }
  )
  return { name: `:${match[1]}`, stop }
}

/** @returns {Promise<number>} */
function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
      server.close(() => resolve(port))
    })
  })
}

/** Waits for a WebDriver. @param {number} port */
async function answers(port) {
  for (const end = Date.now() + 10_000; ;) {
    try {
      await fetch(`http://127.0.0.1:${port}/status`)
      return
    } catch (error) {
      if (Date.now() > end) throw error
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

/**
 * @param {import('../../tools/consumers.mjs').ToolSet} set
 * @param {string} name
 * @returns {Promise<any>}
 */
export async function importTool(set, name) {
  const folder = await installTools(set)
  return import(pathToFileURL(createRequire(join(folder, 'package.json')).resolve(name)).href)
}
