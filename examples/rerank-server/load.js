// Puts the server under load, below and above the bound of its queue, while every twentieth client hangs up. Measures
// requests per second, response times and the delay of the server's event loop.
//   node load.js TEXTS [--seconds 15] [--documents 16] [--connections 8,128] -- --model DIR [options of serve.js]

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '15' },
    documents: { type: 'string', default: '16' },
    connections: { type: 'string', default: '8,128' }
  }
})
const [file, ...serverOptions] = positionals
const texts = readFileSync(file, 'utf8').trim().split('\n')
const count = Number(values.documents)
/** Milliseconds after which a client hangs up, and before a client that was turned away comes back. */
const [PATIENCE, PAUSE] = [20, 100]

async function startServer() {
  const program = fileURLToPath(new URL('serve.js', import.meta.url))
  const server = spawn(process.execPath, [program, '--port', '0', ...serverOptions], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  const [line] = await once(createInterface({ input: server.stdout }), 'line')
  return { server, address: line.split(' ').pop() }
}

/** @param {number[]} sorted @param {number} share */
const percentile = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN

/** @param {number} connections */
async function measure(connections) {
  const { server, address } = await startServer()
  /** @type {number[]} */
  const times = []
  const outcomes = { busy: 0, gone: 0, failed: 0 }

  /** Sends one request. @param {number} turn */
  async function ask(turn) {
    const first = (turn * 37) % (texts.length - count)
    const body = JSON.stringify({ query: texts[turn % texts.length], documents: texts.slice(first, first + count) })
    const hangsUp = turn % 20 === 19
    const start = performance.now()
    const response = await fetch(`${address}/rerank`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
      ...(hangsUp && { signal: AbortSignal.timeout(PATIENCE) })
    })
    await response.text()
    if (response.status === 200) times.push(performance.now() - start)
    else if (response.status === 503) outcomes.busy++
    else outcomes.failed++
    if (response.status === 503) await sleep(PAUSE)
  }

  const connection = async (/** @type {number} */ at, /** @type {number} */ until) => {
    for (let turn = at; performance.now() < until; turn += connections) {
      await ask(turn).catch((error) => (error.name === 'TimeoutError' ? outcomes.gone++ : outcomes.failed++))
    }
  }
  const health = async () => /** @type {any} */ (await (await fetch(`${address}/health`)).json())
  await health()
  const start = performance.now()
  const until = start + Number(values.seconds) * 1000
  await Promise.all(Array.from({ length: connections }, (_, at) => connection(at, until)))
  const seconds = (performance.now() - start) / 1000
  const { eventLoopDelay, running, waiting } = await health()
  server.kill('SIGTERM')
  const [code] = await once(server, 'exit')

  times.sort((a, b) => a - b)
  const milliseconds = [percentile(times, 0.5), percentile(times, 0.99), eventLoopDelay.p50, eventLoopDelay.p99]
  const { busy, gone, failed } = outcomes
  const rate = (times.length / seconds).toFixed(1)
  const cells = [connections, rate, ...milliseconds.map((time) => time.toFixed(1)), busy, gone, failed, code]
  console.log(cells.map((cell) => `${cell}`.padEnd(13)).join(''))
  const isLeft = running + waiting > 0
  if (failed > 0 || code !== 0 || times.length === 0 || isLeft) process.exitCode = 1
}

console.log(`${count} documents per request; times in milliseconds\n`)
const names = 'connections,requests/s,p50,p99,loop p50,loop p99,turned away,hung up,failed,exit code'.split(',')
console.log(names.map((name) => name.padEnd(13)).join(''))
for (const connections of values.connections.split(',')) await measure(Number(connections))
