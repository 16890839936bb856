// Measures the milliseconds of `init()` and the first call in a fresh browser, which the argument names. Needs the
// repository, whose tests drive the same browsers.

import { reported } from '../building.js'
import { fromRepository, serve } from '../serving.js'

/** @typedef {import('../../__test__/consumers/browsers.mjs').Browser} Browser */

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
  const server = await serve(PAGE)
  try {
    return { milliseconds: await browser.outcome(server.address), version: browser.version }
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
