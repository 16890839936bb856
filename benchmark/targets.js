// The five targets of the project's plan: the download of a page, the start time in each browser, the memory beyond
// inputs and results, the speed of WebAssembly as a share of native speed, and the browsers that run the package.

import { readFileSync } from 'node:fs'
import { version } from 'node:process'
import { gzipSync } from 'node:zlib'
import { bundle, subpaths } from './bundles.js'
import { reported } from './building.js'
import { EQUAL_WIDTH } from './equal-width.js'
import { child, MEGABYTE, starts } from './figures.js'
import { against, atMost, share } from './goals.js'
import { duration, quantity, significant } from './report/format.js'
import { median } from './timing.js'

/** @typedef {import('./figures.js').Task} Task */
/** @typedef {import('./goals.js').Aim} Aim */

const BROWSERS = ['Chromium', 'Firefox', 'WebKitGTK']
const BACKENDS = ['native', 'wasm']
const VARIANTS = ['simd128', 'relaxed-simd']

/** @param {string} subpath */
const entryName = (subpath) => `bundle, ${subpath.replace('.', '@ruvector/attention')}`
/** @param {string} browser */
const initName = (browser) => `init, ${browser}`
/** @param {string} backend */
const overheadName = (backend) => `memory overhead, ${backend}`

// ── Measurements ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** @param {string} name */
const packaged = (name) => new URL(`../packages/wasm/${name}`, import.meta.url)
const FETCHED = ['attention.simd.wasm', 'attention.relaxed.patch']

/** @param {readonly Uint8Array[]} files */
const gzippedKB = (files) => files.reduce((sum, file) => sum + gzipSync(file, { level: 9 }).length, 0) / 1000

/** @param {string} subpath @returns {Task} */
const entrySize = (subpath) => ({
  name: entryName(subpath),
  group: 'bundle',
  isQuick: true,
  async measure() {
    const script = await reported(`bundling ${subpath.replace('.', '@ruvector/attention')}`, () => bundle(subpath))
    // External entries fetch the module and, in engines with relaxed SIMD, its patch.
    const fetched = subpath.endsWith('/external') ? FETCHED.map((name) => readFileSync(packaged(name))) : []
    const files = [script, ...fetched]
    return {
      value: files.reduce((sum, { length }) => sum + length, 0) / 1000,
      unit: 'KB',
      detail: `${significant(gzippedKB(files))} KB gzipped; ${fetched.length ? 'script, module and patch' : 'one script'}`
    }
  }
})

/** @param {string} browser @returns {Task} */
const init = (browser) => ({
  name: initName(browser),
  group: 'init',
  isQuick: false,
  async measure() {
    const found = await starts('browser.js', browser)
    const times = found.map(({ milliseconds }) => milliseconds)
    const middle = duration(median(times))
    const detail = `${found[0].version}; \`init()\` and the first call, fastest of ${times.length} starts, median ${middle}`
    // Other programs can only increase the time, so the minimum counts.
    return { value: Math.min(...times), unit: 'ms', detail }
  }
})

/** @param {string} backend @returns {Task} */
const overhead = (backend) => ({
  name: overheadName(backend),
  group: 'overhead',
  isQuick: false,
  async measure() {
    const { growth, inputs, outputs } = await child('memory.js', backend)
    const needed = (inputs + growth) / MEGABYTE
    const given = (inputs + outputs) / MEGABYTE
    const what = '8 heads of 64, 16,384 keys'
    return {
      value: Math.max(0, needed / given - 1),
      unit: '',
      detail: `Node ${version.slice(1)}; ${significant(needed)} MB for ${significant(given)} MB of inputs and result (${what})`
    }
  }
})

/** @type {Task[]} */
const tasks = [...subpaths.map(entrySize), ...BROWSERS.map(init), ...BACKENDS.map(overhead)]

/** @param {{ isQuick: boolean }} options */
export const targetTasks = ({ isQuick }) => tasks.filter((task) => task.isQuick || !isQuick)

// ── Targets ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** @param {string} name @returns {Aim['find']} */
const figure =
  (name) =>
  ({ figures }) =>
    figures.filter((found) => found.name === name).map(({ value, detail }) => ({ value, where: detail }))

/**
 * The speed of a module variant as a share of native speed: the median over the cases, and the name of the slowest.
 *
 * @param {string} variant
 * @param {(results: Parameters<Aim['find']>[0]) => string} family  of native code
 * @returns {Aim['find']}
 */
const throughput = (variant, family) => (results) => {
  const found = against(() => true, `wasm ${variant}`, family(results))(results)
  if (found.length === 0) return []
  const { value, where } = found.reduce((one, other) => (other.value < one.value ? other : one))
  const least = `${quantity(value, '')} in ${where}`
  return [
    { value: median(found.map((finding) => finding.value)), where: `median of ${found.length} cases; least: ${least}` }
  ]
}

/** @param {Parameters<Aim['find']>[0]} results */
const atEqualWidth = ({ rows }) =>
  rows.some(({ family, contender }) => family === 'native' && EQUAL_WIDTH.includes(contender)) ? 'native' : 'sse2'

/** @type {Aim['find']} */
const browsersThatRun = ({ figures }) => {
  const ran = figures.filter(({ group }) => group === 'init')
  const where = ran.map(({ detail }) => detail.split(';')[0]).join(', ')
  return ran.length ? [{ value: ran.length, where }] : []
}

/** @type {Aim[]} */
export const TARGETS = [
  ...subpaths.map((subpath) => atMost(entryName(subpath), 500, 'KB', figure(entryName(subpath)))),
  ...BROWSERS.map((browser) => atMost(initName(browser), 100, 'ms', figure(initName(browser)))),
  ...BACKENDS.map((backend) => atMost(overheadName(backend), 0.1, '', figure(overheadName(backend)))),
  ...VARIANTS.flatMap((variant) => [
    share(`throughput, wasm ${variant} / native at equal width`, 0.8, throughput(variant, atEqualWidth)),
    share(
      `throughput, wasm ${variant} / native at its best`,
      0.8,
      throughput(variant, () => 'native')
    )
  ]),
  { name: 'browsers', limit: BROWSERS.length, atLeast: true, unit: `of ${BROWSERS.length}`, find: browsersThatRun }
]
