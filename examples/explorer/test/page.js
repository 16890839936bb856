// A page object for the tests: opens the page in Chromium, selects, waits, reads.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { chromium } from 'playwright-core'
import { BROWSER_ARGS, findBrowser } from '../../../tools/programs.mjs'
import { serve } from './serve.js'

/** @typedef {import('playwright-core').Page} Page */

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

export async function openBrowser() {
  const executablePath = findBrowser()
  if (!executablePath) throw new Error('no Chromium or Chrome was found: install one, or name it in CHROME_PATH')
  const { address, close } = await serve()
  const browser = await chromium.launch({ executablePath, args: BROWSER_ARGS })
  return {
    address,
    /**
     * Opens a new page and waits for its first picture.
     *
     * @param {import('playwright-core').BrowserContextOptions} [options]
     * @param {string} [hash]  the settings in the address
     */
    async open(options = {}, hash = '') {
      const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options })
      const page = await context.newPage()
      /** Errors, and the origins that the page contacted. @type {string[]} */
      const faults = []
      /** @type {Set<string>} */
      const origins = new Set()
      page.on('console', (message) => message.type() === 'error' && faults.push(message.text()))
      page.on('pageerror', (error) => faults.push(String(error)))
      context.on('request', (request) => origins.add(new URL(request.url()).origin))
      await page.goto(address + hash)
      await settled(page)
      return { context, page, faults, origins }
    },
    async close() {
      await browser.close()
      close()
    }
  }
}

/**
 * Waits until no work is in progress.
 *
 * @param {Page} page
 */
export async function settled(page) {
  await page.waitForFunction(
    () => !document.body.hasAttribute('data-busy') && document.querySelector('#pictures svg') !== null,
    undefined,
    { timeout: 30_000 }
  )
}

/**
 * Toggles a radio button or checkbox by clicking its label.
 *
 * @param {Page} page
 * @param {string} name
 * @param {string} value
 */
export async function choose(page, name, value) {
  await page.locator(`input[name="${name}"][value="${value}"]`).locator('xpath=..').click()
  await settled(page)
}

/** @param {Page} page @param {string} text */
export async function type(page, text) {
  await page.fill('#text', text)
  await settled(page)
}

/** The tokens on the page. @param {Page} page */
export const tokens = (page) => page.locator('#tokens .word').allTextContents()

/** The kinds of pictures on the page. @param {Page} page */
export const kinds = (page) =>
  page.locator('#pictures figure').evaluateAll((figures) => figures.map((figure) => figure.dataset.kind))

/**
 * The cells of the heatmap, from their tooltips.
 *
 * @param {Page} page
 * @returns {Promise<{ head?: number, query: string, key: string, value: string }[]>}
 */
export async function cells(page) {
  const titles = await page.locator('figure[data-kind="heatmap"] path > title').allTextContents()
  return titles.map((title) => {
    const [, head, query, key, value] = /^(?:head (\d+): )?(\S+) → (\S+) (.+)$/.exec(title) ?? []
    return { ...(head && { head: Number(head) }), query, key, value }
  })
}

/** The weights in the table, rows of percentages. @param {Page} page */
export async function table(page) {
  if (!(await page.locator('#numbers').evaluate((details) => /** @type {HTMLDetailsElement} */ (details).open))) {
    await page.click('#numbers summary')
    await page.waitForSelector('#numbers tbody td')
  }
  return page
    .locator('#numbers tbody tr')
    .evaluateAll((rows) => rows.map((row) => [...row.querySelectorAll('td')].map((cell) => Number(cell.textContent))))
}

/**
 * The problems that axe finds in parts of the page.
 *
 * @param {Page} page
 * @param {readonly string[]} parts  selectors
 * @param {object} [options]
 */
export async function faultsByAxe(page, parts, options = {}) {
  const run = (/** @type {object[]} */ given) => /** @type {any} */ (globalThis).axe.run(...given)
  if (!(await page.evaluate('"axe" in window'))) await page.evaluate(axe)
  const { violations, passes } = await page.evaluate(run, [parts, options])
  assert.ok(passes.length > 0)
  return violations.map((/** @type {any} */ { id, nodes }) => `${id}: ${nodes[0].html}`)
}
