// Installs the package in the projects of many consumers, runs attention in each, and ends with a table of the results.
//   npm run test:consumers [-- [--core] [NAME…]]   NAME: part of a consumer's name

import { NotHere, Browsers, Project } from './project.mjs'
import { installPackage } from './package.mjs'
import { bundlers } from './bundlers.mjs'
import { corpora } from './corpus.mjs'
import { models } from './models.mjs'
import { nestApps } from './nest.mjs'
import { offlinePages } from './offline.mjs'
import { pages } from './pages.mjs'
import { runners } from './runners.mjs'
import { runtimes } from './runtimes.mjs'
import { servers } from './servers.mjs'
import { table } from './table.mjs'
import { installTools } from '../../tools/consumers.mjs'
import { types } from './types.mjs'

/** @typedef {import('./project.mjs').Consumer} Consumer */
/** @typedef {import('./table.mjs').Row} Row */

const core = process.argv.includes('--core')
const names = process.argv.slice(2).filter((argument) => !argument.startsWith('--'))
const chosen = [
  ...runtimes,
  ...pages,
  ...bundlers,
  ...types,
  ...runners,
  ...nestApps,
  ...models,
  ...corpora,
  ...servers,
  ...offlinePages
].filter(
  (consumer) =>
    (!core || consumer.core) &&
    (names.length === 0 || names.some((name) => consumer.name.toLowerCase().includes(name.toLowerCase())))
)

/**
 * @param {Consumer} consumer
 * @param {import('./package.mjs').Installed} packed
 * @param {Browsers} browsers
 * @returns {Promise<Row>}
 */
async function runConsumer({ name, tools, native, run }, packed, browsers) {
  const start = performance.now()
  /** @param {Partial<Row>} row @returns {Row} */
  const end = (row) => ({ name, result: 'passed', seconds: (performance.now() - start) / 1000, ...row })
  try {
    const installed = native ? packed.native : packed.wasm
    if (!installed) throw new NotHere('no native addon is built')
    await installTools(tools).catch((error) => {
      throw new NotHere(`npm did not install its tools: ${error.message}`)
    })
    const { report, note } = await run(new Project(tools, installed, browsers, packed))
    return end({ report, note })
  } catch (error) {
    if (error instanceof NotHere) return end({ result: 'not here', note: error.message })
    return end({ result: 'failed', note: error instanceof Error ? error.message : String(error) })
  }
}

/**
 * Two at a time, except for those that share a folder with their tools.
 *
 * @param {readonly Consumer[]} consumers
 * @returns {Promise<Row[]>} in the order of the consumers
 */
async function runAll(consumers) {
  const packed = await installPackage()
  const browsers = new Browsers()
  /** @type {Map<Consumer, Row>} */
  const rows = new Map()
  const sets = [...new Set(consumers.map(({ tools }) => tools))]
  const queues = sets.map((set) => consumers.filter(({ tools }) => tools === set))
  async function lane() {
    for (let queue = queues.shift(); queue; queue = queues.shift()) {
      for (const consumer of queue) {
        const row = await runConsumer(consumer, packed, browsers)
        rows.set(consumer, row)
        const reason = row.result === 'passed' ? '' : `: ${row.note}`
        console.log(`consumers: ${row.name}: ${row.result}, ${row.seconds.toFixed(1)} s${reason}`)
      }
    }
  }
  try {
    await Promise.all([lane(), lane()])
  } finally {
    await browsers.close()
  }
  return consumers.map((consumer) => /** @type {Row} */ (rows.get(consumer)))
}

const rows = await runAll(chosen)
console.log(`\n${table(rows)}\n`)
const count = (/** @type {Row['result']} */ result) => rows.filter((row) => row.result === result).length
console.log(`consumers: ${count('passed')} passed, ${count('failed')} failed, ${count('not here')} not on this machine`)
// Everything that npm test needs is available wherever CI runs it.
const isMissing = core && process.env.CI !== undefined && count('not here') > 0
process.exitCode = count('failed') > 0 || isMissing || rows.length === 0 ? 1 : 0
