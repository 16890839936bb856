// The whole model in the built page: its files are read, all 72 heads can be chosen, and the shown programs compute the
// same in Node.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { hasModel, modelFolder } from '../../../tools/model.mjs'
import { root } from '../../../tools/shell.mjs'
import { choose, openBrowser, settled, table, tokens, type } from './page.js'

/** @typedef {import('playwright-core').Page} Page */

const skip = hasModel() ? false : 'the model is missing: node tools/model.mjs fetches it'

/** @type {Awaited<ReturnType<typeof openBrowser>>} */
let browser
/** @type {Awaited<ReturnType<typeof browser.open>>} */
let opened

before(async () => {
  browser = await openBrowser()
  opened = await browser.open()
})

after(() => browser?.close())

/** @param {Page} page @param {readonly string[]} names */
const give = (page, names) =>
  page.setInputFiles(
    '#files',
    names.map((name) => join(modelFolder, name))
  )

test('files that are missing, or of no model, are named', { skip }, async () => {
  const { page } = opened
  await give(page, ['tokenizer.json', 'config.json'])
  assert.equal(await page.textContent('#model-said'), 'Still missing: model.safetensors.')
  await page.setInputFiles('#files', [{ name: 'model.safetensors', mimeType: '', buffer: Buffer.from('not weights') }])
  await page.waitForSelector('#model[data-state="failed"]')
  assert.match((await page.textContent('#model-said')) ?? '', /^The model could not be loaded: .*model\.safetensors/)
  await settled(page)
  assert.match((await page.textContent('#status')) ?? '', /^16 tokens/)
})

test('the whole model finds the noun of a pronoun, and reads any language', { skip }, async () => {
  const { page, faults } = opened
  await give(page, ['tokenizer.json', 'config.json', 'model.safetensors'])
  await page.waitForSelector('#model[data-state="whole"]')
  await page.waitForFunction(() => document.getElementById('looks-of')?.textContent === 'Layer 3, head 1')
  await settled(page)
  assert.match((await page.textContent('#sentence')) ?? '', /^“it” attends most to “trophy” \(5\d %\)/)
  assert.equal(await page.locator('#map input:enabled').count(), 72)
  await choose(page, 'cell', '5.4')
  assert.match((await page.textContent('#sentence')) ?? '', /^“it” attends most to “trophy”/)
  assert.match(new URL(page.url()).hash, /layer=5.*head=4/)
  await type(page, 'Ein Wolf, 東京 héllo Zylophonik')
  assert.deepEqual((await tokens(page)).slice(0, 8), ['[CLS]', 'ein', 'wolf', ',', '東', '京', 'hello', 'z'])
  assert.match((await page.textContent('#notes')) ?? '', /vocabulary lacks/)
  assert.deepEqual(faults, [])
})

test('the program of each mechanism computes the row that the page shows', { skip }, async (t) => {
  const { page } = opened
  const folder = mkdtempSync(join(root, 'output', 'explorer-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const log = t.mock.method(console, 'log', () => {})
  await type(page, 'The dog didn\'t "see" \\ it.')
  await choose(page, 'cell', '2.7')
  await choose(page, 'head', '9')
  for (const [mechanism, mask] of [
    ['multi-head', 'none'],
    ['dot-product', 'causal'],
    ['linear', 'causal'],
    ['hyperbolic', 'window'],
    ['graph', 'none']
  ]) {
    await choose(page, 'mechanism', mechanism)
    await choose(page, 'mask', mask)
    await choose(page, 'token', '3')
    const expected = (await table(page))[3]
    const code = (await page.textContent('#code')) ?? ''
    const file = join(folder, `${mechanism}.mjs`)
    writeFileSync(file, code.replace("'./all-MiniLM-L6-v2'", JSON.stringify(modelFolder)))
    log.mock.resetCalls()
    await import(pathToFileURL(file).href)
    const row = /** @type {number[]} */ (log.mock.calls[0].arguments[0])
    assert.equal(row.length, expected.length, mechanism)
    row.forEach((weight, key) => {
      assert.ok(Math.abs(100 * weight - expected[key]) < 0.2, `${mechanism}, ${key}: ${100 * weight} ${expected[key]}`)
    })
  }
})
