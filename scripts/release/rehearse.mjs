// Rehearses a release: publishes the tarballs and what they depend on to a local registry, then installs the package
// from it in new folders and runs it.

import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { platformTriple } from '../../lib/loaders/platform.js'
import { Failure, query, root, run } from '../../tools/shell.mjs'
import { toolProgram } from './tools.mjs'

/** @typedef {{ file: string, name: string, triple?: string }} Packed */

/** The packages that the package needs, as installed here. */
const dependencies = Object.keys(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).dependencies)

/** One call: checks its result, then prints the backend. */
const CALL = `const q = api.createTensor([4, 0, 0, 4], [1, 2, 2])
const k = api.createTensor([1, 0, 0, 1, 1, 1], [1, 3, 2])
const v = api.createTensor([10, 20, 30], [1, 3, 1])
const { output } = api.scaledDotProductAttention(q, k, v, { kvLengths: Int32Array.of(2) })
if (output.data[0].toFixed(3) !== '10.558') throw new Error(String(output.data))
console.log(api.backend().kind)
`

/**
 * @param {readonly Packed[]} packed  in the order in which they are published
 * @param {string} version
 * @param {string} tag
 */
export async function rehearse(packed, version, tag) {
  const folder = mkdtempSync(join(tmpdir(), 'attention-release-'))
  const registry = await startRegistry(folder)
  try {
    const env = npmEnvironment(folder, registry.address)
    const publish = (/** @type {string} */ what, /** @type {string[]} */ ...flags) =>
      run('npm', ['publish', what, ...flags, '--loglevel=error'], { cwd: folder, env })
    for (const name of dependencies) await publish(join(root, 'node_modules', name), '--ignore-scripts')
    for (const { file } of packed) await publish(file, '--tag', tag)
    const isNative = packed.some(({ triple }) => triple === platformTriple())
    if (!isNative) console.log(`no package for ${platformTriple()} is in this release: WebAssembly is what runs here`)
    await install(join(folder, 'whole'), version, isNative ? 'native' : 'wasm', env, [])
    await install(join(folder, 'without'), version, 'wasm', env, ['--omit=optional'])
  } finally {
    await registry.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

/**
 * Runs npm with this registry, a separate cache, and none of the user's settings.
 *
 * @param {string} folder
 * @param {string} address
 */
function npmEnvironment(folder, address) {
  const settings = join(folder, '.npmrc')
  writeFileSync(settings, `registry=${address}\n${address.replace('http:', '')}:_authToken=rehearsal\n`)
  return {
    npm_config_userconfig: settings,
    npm_config_registry: address,
    npm_config_cache: join(folder, 'cache'),
    npm_config_audit: 'false',
    npm_config_fund: 'false',
    npm_config_provenance: 'false'
  }
}

/** @returns {Promise<number>} a free port */
const freePort = () =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.on('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
      server.close(() => resolve(port))
    })
  })

/**
 * Starts Verdaccio without a connection to another registry.
 *
 * @param {string} folder
 */
async function startRegistry(folder) {
  const address = `http://127.0.0.1:${await freePort()}/`
  const configuration = join(folder, 'verdaccio.yaml')
  writeFileSync(
    configuration,
    `storage: ${JSON.stringify(join(folder, 'storage'))}
auth: { htpasswd: { file: ${JSON.stringify(join(folder, 'htpasswd'))} } }
uplinks: {}
packages: { '**': { access: $all, publish: $all } }
web: { enable: false }
log: { type: stdout, format: pretty, level: warn }
`
  )
  const arguments_ = [toolProgram('verdaccio'), '--config', configuration, '--listen', address]
  const child = spawn(process.execPath, arguments_, { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] })
  const ended = new Promise((resolve) => child.on('close', resolve))
  const stop = async () => {
    child.kill()
    await ended
  }
  try {
    await answered(address, child)
  } catch (error) {
    await stop()
    throw error
  }
  return { address, stop }
}

/**
 * @param {string} address
 * @param {import('node:child_process').ChildProcess} child
 */
async function answered(address, child) {
  for (const start = performance.now(); performance.now() - start < 120_000; await sleep(200)) {
    if (child.exitCode !== null) break
    const isUp = await fetch(`${address}-/ping`).then(
      ({ ok }) => ok,
      () => false
    )
    if (isUp) return
  }
  throw new Failure('the registry of the rehearsal did not start')
}

/**
 * @param {string} folder
 * @param {string} version
 * @param {string} kind  the backend that must run
 * @param {Record<string, string>} env
 * @param {readonly string[]} flags
 */
async function install(folder, version, kind, env, flags) {
  mkdirSync(folder)
  writeFileSync(join(folder, 'package.json'), '{ "name": "consumer", "private": true }\n')
  writeFileSync(join(folder, 'call.cjs'), `const api = require('@ruvector/attention')\n${CALL}`)
  writeFileSync(join(folder, 'call.mjs'), `import * as api from '@ruvector/attention'\n${CALL}`)
  const options = { cwd: folder, env }
  await run('npm', ['install', `@ruvector/attention@${version}`, '--loglevel=error', ...flags], options)
  for (const program of ['call.cjs', 'call.mjs']) {
    const found = query(process.execPath, [program], options)
    if (found !== kind)
      throw new Failure(`${program} ran ${found}, not ${kind}, with ${flags.join(' ') || 'everything'}`)
    console.log(`${program}: ${found}`)
  }
  await doctor(kind, options)
}

/**
 * @param {string} kind
 * @param {import('../../tools/shell.mjs').RunOptions} options
 */
async function doctor(kind, options) {
  await run('npx', ['--no-install', 'attention', 'doctor'], options)
  const report = JSON.parse(query('npx', ['--no-install', 'attention', 'doctor', '--json'], options) ?? '{}')
  if (report.runs !== kind) throw new Failure(`the doctor reports that ${report.runs} runs, not ${kind}`)
}
