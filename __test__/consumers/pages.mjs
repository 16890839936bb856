// Consumers that are pages without a bundler: modules by path from a static server, with and without a content security
// policy.

import { Failure, expectReport } from './project.mjs'

/** @typedef {import('./project.mjs').Consumer} Consumer */
/** @typedef {'chromium' | 'firefox' | 'webkit'} BrowserName */

const home = './node_modules/@ruvector/attention/lib'
/** The file that a specifier refers to in a page without an import map. */
const paths = /** @type {Record<string, string>} */ ({
  '@ruvector/attention': `${home}/entries/browser.js`,
  '@ruvector/attention/compat': `${home}/entries/compat-browser.js`,
  '@ruvector/attention/external': `${home}/entries/external.js`,
  '@ruvector/attention/plot': `${home}/plot/index.js`
})

/** @param {string} code */
const byPaths = (code) => code.replaceAll(/from '(@ruvector[^']*)'/g, (_, specifier) => `from '${paths[specifier]}'`)

/** @param {string} script */
export const htmlFor = (script) =>
  `<!doctype html><meta charset="utf-8"><title>Check</title><script type="module" src="${script}"></script>`

const strict = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; worker-src 'self'"
const wasm = /** @type {const} */ ({ kind: 'wasm', workers: true, needsInit: true })

/**
 * @param {BrowserName} browser
 * @param {string} how
 * @param {{ script: string, policy?: string, expected: Parameters<typeof expectReport>[1] }} what
 * @returns {Consumer}
 */
const page = (browser, how, { script, policy, expected }) => ({
  name: `${titles[browser]}: ${how}`,
  core: browser !== 'webkit',
  tools: setOf(browser),
  async run(project) {
    project.take(['check.js', script, 'worker.js'], byPaths)
    project.write({ 'index.html': htmlFor(script) })
    const headers = policy === undefined ? undefined : { 'content-security-policy': policy }
    return expectReport(await project.open('.', { browser, headers }), expected)
  }
})

const titles = { chromium: 'Chromium', firefox: 'Firefox', webkit: 'WebKitGTK' }

/** Chromium's driver is part of the repository. @param {BrowserName} browser */
const setOf = (browser) => (browser === 'chromium' ? 'node' : browser)

/**
 * An example whose page shows its results in elements with ids.
 *
 * @param {BrowserName} browser
 * @param {string} name
 * @param {Record<string, RegExp>} expected  expected text of each element
 * @returns {Consumer}
 */
const example = (browser, name, expected) => ({
  name: `${titles[browser]}: examples/${name}`,
  core: browser !== 'webkit',
  tools: setOf(browser),
  async run(project) {
    project.takeExample(name, (code) => code.replaceAll('../../lib', home))
    const shown = await project.read('.', { browser, ids: Object.keys(expected) })
    for (const [id, pattern] of Object.entries(expected)) {
      if (!pattern.test(shown[id])) throw new Failure(`${id}: ${shown[id]}`)
    }
    return { note: Object.values(shown).join('; ') }
  }
})

/** @param {BrowserName} browser @returns {Consumer[]} */
const pagesIn = (browser) => [
  page(browser, 'modules and a worker', { script: 'page.js', expected: wasm }),
  page(browser, '/external', { script: 'external.js', expected: wasm }),
  page(browser, '/external, offline', { script: 'cached.js', expected: wasm }),
  page(browser, 'strict CSP', {
    script: 'page.js',
    policy: strict,
    expected: { ...wasm, workers: false, rejected: [/^workers from a blob: .*content security policy/] }
  }),
  page(browser, 'CSP with worker-src blob:', { script: 'page.js', policy: `${strict} blob:`, expected: wasm }),
  page(browser, 'strict CSP, /external', { script: 'external.js', policy: strict, expected: wasm }),
  example(browser, 'browser-page', {
    page: /^1 × 5 × 8 on \S*simd/,
    worker: /^1 × 8 × 512 × 64 in \d+ ms$/
  }),
  example(browser, 'plan', {
    parameters: /^1,050,624$/,
    output: /^2 × 10 × 512: -?\d/,
    time: /^\d+\.\d ms$/,
    memory: /^[1-9][\d,]* bytes for the call, \d+\.\d MB in all$/,
    worker: /^16 calls in \d+ ms$/
  })
]

/** The page that trains: to the end in one browser, and the first steps in the other. */
const training = [
  example('chromium', 'train-page', {
    result: /^(2[4-9]|30) of 30 found after 100 steps, \d+\.\d s of training \(\S*simd/
  }),
  example('firefox', 'train-page', { loss: /^\d\.\d{3}$/, right: /^\d+ of 30$/ })
]

/** @type {Consumer[]} */
export const pages = [.../** @type {const} */ (['chromium', 'firefox', 'webkit']).flatMap(pagesIn), ...training]
