// The kill test: examples/corpus embeds a file while workers and Redis are killed at random moments. Its folder must
// then be that of a single run, byte for byte.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { query, root } from '../../tools/shell.mjs'
import { Failure, NotHere } from './project.mjs'

/** @typedef {import('./project.mjs').Consumer} Consumer */
/** @typedef {import('./project.mjs').Project} Project */

const model = join(root, '__test__', 'golden', 'models', 'sentences-dense')
const words = 'a man is eating food someone eats meal the sky blue who ate what'.split(' ')

/** Random numbers below 1 from a seed, so that a failure can be repeated. @param {number} seed */
function createRandom(seed) {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

/** @param {number} count @param {() => number} random */
const textsOf = (count, random) =>
  Array.from({ length: count }, () =>
    Array.from({ length: 5 + random() * 40 }, () => words[Math.floor(random() * words.length)]).join(' ')
  ).join('\n')

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  server.close()
  return port
}

/** The processes that a process has started. @param {number | undefined} parent */
function childrenOf(parent) {
  const list = query('ps', ['-A', '-o', 'pid=,ppid=,args='])?.split('\n') ?? []
  return list.flatMap((line) => {
    const [, pid, owner, args] = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? []
    return Number(owner) === parent && /redis-server|worker\.js/.test(args) ? [Number(pid)] : []
  })
}

/** Compares all files of two folders. @param {string} actual @param {string} expected */
function compareFolders(actual, expected) {
  const [names, wanted] = [actual, expected].map((folder) => readdirSync(folder).sort())
  if (names.join() !== wanted.join()) throw new Failure(`${names.length} files instead of ${wanted.length}: ${names}`)
  for (const name of wanted) {
    if (!readFileSync(join(actual, name)).equals(readFileSync(join(expected, name)))) {
      throw new Failure(`${name} differs from that of a single run`)
    }
  }
}

/**
 * Runs the example once, and kills its processes until it ends.
 *
 * @param {Project} project
 * @param {readonly string[]} args
 * @param {() => number} random
 * @param {number} kills  the number of kills at most
 * @returns {Promise<number>} the number of kills
 */
async function runAndKill(project, args, random, kills) {
  const child = spawn(process.execPath, ['embed.js', ...args], {
    cwd: project.folder,
    stdio: ['ignore', 'pipe', 'pipe']
  })
  let [output, killed] = ['', 0]
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text))
  const end = once(child, 'close')
  while (killed < kills && child.exitCode === null) {
    await sleep(100 + random() * 900)
    const running = childrenOf(child.pid)
    if (running.length === 0) continue
    try {
      process.kill(running[Math.floor(random() * running.length)], 'SIGKILL')
      killed++
    } catch {
      // It has ended by itself.
    }
  }
  // Workers and Redis end with the example, so it is asked before it is killed.
  const stuck = [setTimeout(() => child.kill('SIGINT'), 180_000), setTimeout(() => child.kill('SIGKILL'), 200_000)]
  const [code] = await end
  stuck.forEach(clearTimeout)
  if (code !== 0 || !output.includes('all verified')) throw new Failure(`the example ended with ${code}: ${output}`)
  return killed
}

/**
 * @param {Project} project
 * @param {{ texts: number, shard: number, kills: number }} sizes
 */
async function killTest(project, { texts, shard, kills }) {
  if (query('redis-server', ['--version']) === undefined) throw new NotHere('redis-server is not installed')
  const seed = Date.now() % 1e6
  const random = createRandom(seed)
  project.takeExample('corpus')
  writeFileSync(join(project.folder, 'texts.txt'), textsOf(texts, random))
  const args = ['texts.txt', '--model', model, '--shard', `${shard}`]
  const program = join('node_modules', '@ruvector', 'attention', 'lib', 'cli', 'index.js')
  await project.run(process.execPath, [program, 'embed', ...args, '--output', 'single'])
  let [killed, runs] = [0, 0]
  try {
    while (killed < kills) {
      for (const name of ['output', 'output.queue']) {
        rmSync(join(project.folder, name), { recursive: true, force: true })
      }
      const port = ['--port', `${await freePort()}`, '--workers', '3', '--heartbeat', '2']
      killed += await runAndKill(project, [...args, '--output', 'output', ...port], random, kills - killed)
      compareFolders(join(project.folder, 'output'), join(project.folder, 'single'))
      runs++
    }
  } catch (error) {
    throw error instanceof Failure ? new Failure(`seed ${seed}, after ${killed} kills: ${error.message}`) : error
  }
  return { note: `${texts} texts, ${killed} kills in ${runs} runs` }
}

/** @type {Consumer[]} */
export const corpora = [
  {
    name: 'examples/corpus: 2,000 texts, killed three times',
    core: true,
    tools: 'corpus',
    native: true,
    run: (project) => killTest(project, { texts: 2000, shard: 50, kills: 3 })
  },
  {
    name: 'examples/corpus: 20,000 texts, killed twenty times',
    tools: 'corpus',
    native: true,
    run: (project) => killTest(project, { texts: 20_000, shard: 200, kills: 20 })
  }
]
