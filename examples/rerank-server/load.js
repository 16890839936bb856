// Loads the server with requests, with asynchronous and with synchronous calls, on one thread and on two. Measures
// requests per second, response times, and the delay of the server's event loop. `node examples/rerank-server/load.js
// --seconds 20`
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '15' },
    connections: { type: 'string', default: '8' },
    documents: { type: 'string', default: '16' },
    backend: { type: 'string', default: 'native' }
  }
})
const sentences = readFileSync(new URL('../minilm-search/sentences.txt', import.meta.url), 'utf8')
  .trim()
  .split('\n')

/** @param {string[]} options  command-line options of the server */
async function startServer(options) {
  const program = fileURLToPath(new URL('index.js', import.meta.url))
  const running = spawn(process.execPath, [program, '--port', '0', '--backend', values.backend, ...options], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  const [line] = await once(createInterface({ input: running.stdout }), 'line')
  return { running, address: line.split(' ').pop() }
}

/**
 * @param {string} address
 * @param {Agent} agent
 * @param {unknown} [body]
 * @returns {Promise<{ status: number, body: any }>}
 */
function ask(address, agent, body) {
  return new Promise((resolve, reject) => {
    const asked = request(address, { agent, method: body === undefined ? 'GET' : 'POST' }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk) => (text += chunk))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) }))
    })
    asked.on('error', reject)
    asked.end(body === undefined ? undefined : JSON.stringify(body))
  })
}

/** @param {number[]} sorted @param {number} share */
const percentile = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]

/** @param {string} mode @param {number} threads */
async function measure(mode, threads) {
  const { running, address } = await startServer(['--threads', `${threads}`, ...(mode === 'sync' ? ['--sync'] : [])])
  const agent = new Agent({ keepAlive: true })
  const count = Number(values.documents)
  /** @type {number[]} */
  const times = []
  let errors = 0
  const until = performance.now() + Number(values.seconds) * 1000
  const connection = async (/** @type {number} */ at) => {
    for (let turn = at; performance.now() < until; turn++) {
      const first = (turn * 37) % (sentences.length - count)
      const question = { query: sentences[turn % sentences.length], documents: sentences.slice(first, first + count) }
      const start = performance.now()
      const { status } = await ask(`${address}/rerank`, agent, question)
      if (status === 200) times.push(performance.now() - start)
      else errors++
    }
  }
  await ask(`${address}/health`, agent)
  await Promise.all(Array.from({ length: Number(values.connections) }, (_, at) => connection(at)))
  const { eventLoopDelay } = (await ask(`${address}/health`, agent)).body
  running.kill('SIGTERM')
  const [code] = await once(running, 'exit')
  agent.destroy()
  times.sort((a, b) => a - b)
  const answers = [0.5, 0.99].map((share) => percentile(times, share).toFixed(0))
  const row = [(times.length / Number(values.seconds)).toFixed(1), ...answers, eventLoopDelay.p50.toFixed(1)]
  console.log(
    [mode, threads, ...row, eventLoopDelay.p99.toFixed(1), errors, code].map((cell) => `${cell}`.padEnd(14)).join('')
  )
}

console.log(
  `${values.backend}, ${values.connections} connections, ${values.documents} documents per request; times in milliseconds\n`
)
const names = [
  'calls',
  'threads',
  'requests/s',
  'response p50',
  'response p99',
  'loop p50',
  'loop p99',
  'errors',
  'exit code'
]
console.log(names.map((name) => name.padEnd(14)).join(''))
for (const mode of ['sync', 'async']) for (const threads of [1, 2]) await measure(mode, threads)
