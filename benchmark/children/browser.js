// Measures the milliseconds of `init()` and the first call in a fresh browser, which the argument names. Needs the
// repository, whose tests drive the same browsers.

import { reported } from '../building.js'
import { fromRepository, serveRepository } from '../serving.js'

/** @typedef {import('../../__test__/consumers/browsers.mjs').Browser} Browser */

/** @param {string} name @returns {Promise<Browser>} */
async function open(name) {
  /** @type {typeof import('../../__test__/consumers/browsers.mjs')} */
  const { openChromium, openFirefox, openWebKit } = await fromRepository('__test__/consumers/browsers.mjs')
  /** @type {typeof import('../../tools/consumers.mjs')} */
  const { installTools, isInstalled } = await fromRepository('tools/consumers.mjs')
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
  const server = await serveRepository()
  try {
    return {
      milliseconds: await browser.outcome(`${server.address}/benchmark/children/init.html`),
      version: browser.version
    }
  } finally {
    await browser.close()
    server.stop()
  }
}

try {
  console.log(JSON.stringify(await measure()))
} catch (error) {
  console.log(JSON.stringify({ error: error instanceof Error ? error.message : String(error) }))
}
