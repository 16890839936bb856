// Preloaded by `npm run coverage` into every Node process: counts the lines of the package's workers. Node writes the
// counters of a thread when it exits, but the package ends its workers by `terminate()`, so they are written after each
// message.

'use strict'

const { createHash } = require('node:crypto')
const { readFileSync, writeFileSync } = require('node:fs')
const { Session } = require('node:inspector')
const { dirname, join } = require('node:path')
const { pathToFileURL } = require('node:url')
const { runInThisContext } = require('node:vm')
const workerThreads = require('node:worker_threads')

/** The name that lib/runtime/async/spawn.js gives its workers. */
const NAME = 'ruvector-attention'

/** @param {string} folder of the counters; the workers' program with its source map is beside it */
function countWorkers(folder) {
  const { Worker } = workerThreads
  workerThreads.Worker = class extends Worker {
    /** @param {string | URL} program @param {import('node:worker_threads').WorkerOptions} [options] */
    constructor(program, options) {
      const call = `require(${JSON.stringify(__filename)}).runCounted(${JSON.stringify(folder)})`
      super(options?.eval && options.name === NAME ? call : program, options)
    }
  }
}

/**
 * Runs the program of the workers in this thread, with counters.
 *
 * @param {string} folder
 */
function runCounted(folder) {
  const file = join(dirname(folder), 'worker.js')
  const { href } = pathToFileURL(file)
  const session = new Session()
  session.connect()
  session.post('Profiler.enable')
  session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true })
  const write = () =>
    session.post('Profiler.takePreciseCoverage', (error, taken) => {
      if (error) throw error
      const result = taken.result.filter(({ url }) => url === href)
      // One file for all messages that ran the same lines.
      for (const { ranges } of result.flatMap(({ functions }) => functions)) {
        for (const range of ranges) range.count = Math.min(range.count, 1)
      }
      const text = JSON.stringify({ result })
      const name = createHash('sha256').update(text).digest('hex').slice(0, 16)
      writeFileSync(join(folder, `coverage-worker-${name}.json`), text)
    })
  runInThisContext(readFileSync(file, 'utf8'), { filename: href })
  workerThreads.parentPort?.on('message', write)
  process.on('exit', write)
}

module.exports = { runCounted }
// Workers of the package have no environment and do not start other workers.
if (process.env.NODE_V8_COVERAGE) countWorkers(process.env.NODE_V8_COVERAGE)
