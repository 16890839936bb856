// Consumers that are servers: examples/rerank-server, its parts one by one and whole under load.

import { join } from 'node:path'
import { root } from '../../tools/shell.mjs'
import { Failure } from './project.mjs'

/** @typedef {import('./project.mjs').Consumer} Consumer */

const model = join(root, '__test__', 'golden', 'models', 'cross-encoder')
const texts = join(root, 'examples', 'minilm-search', 'sentences.txt')

/**
 * The results of load.js.
 *
 * @param {string} output
 * @returns {string[]}
 */
function readLoad(output) {
  const rows = output.trim().split('\n').slice(3)
  if (rows.length !== 2) throw new Failure(output)
  return rows.map((row) => {
    const [connections, rate] = row.trim().split(/\s+/)
    return `${connections} connections: ${rate}/s`
  })
}

/** @type {Consumer[]} */
export const servers = [
  {
    name: 'Fastify: examples/rerank-server',
    core: true,
    tools: 'fastify',
    native: true,
    async run(project) {
      project.takeExample('rerank-server')
      project.take(['rerank-check.js'])
      const seen = (await project.run(process.execPath, ['rerank-check.js', model])).trim()
      // It fails if a request does, or if the server does not end by itself.
      const load = ['load.js', texts, '--seconds', '1', '--connections', '4,64', '--', '--model', model]
      const rates = readLoad(await project.run(process.execPath, [...load, '--running', '1', '--waiting', '8']))
      return { note: `${seen}; ${rates.join(', ')}` }
    }
  }
]
