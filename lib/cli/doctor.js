#!/usr/bin/env node
// `npx @ruvector/attention doctor`: reports which backends run here, why others do not, and the command that fixes
// each.

import { existsSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'
import { platformTriple } from '../loaders/platform.js'
import { version } from '../version.js'
import { PUBLISHED } from './platforms.js'
import { program } from './program.js'
import { selfCheck } from './self-check.js'

const USAGE = `Usage: npx @ruvector/attention doctor [--json]

Reports which backends run on this machine, with their instruction set and number of threads, and compares their
numbers with plain JavaScript. For a backend that does not run, prints the error of each candidate and the command
that fixes it.

  --json    print the report as JSON
  --help    show this text

Exits with 0 if programs get a working backend, native or WebAssembly; with 1 if they get none, or one with wrong
numbers.
`

const VARIABLES = ['BACKEND', 'NATIVE_PATH', 'SIMD', 'DEBUG'].map((name) => `RUVECTOR_ATTENTION_${name}`)

/** @typedef {import('../runtime/backend.js').Loaded} Loaded */
/** @typedef {import('../runtime/backend.js').Rejection} Rejection */
/** @typedef {import('../../index.d.ts').BackendKind} BackendKind */
/**
 * @typedef {object} Finding
 * @property {BackendKind} kind
 * @property {boolean} runs
 * @property {string} [simd]
 * @property {number} [threads]
 * @property {{ difference: number, passed: boolean }} [check]
 * @property {{ candidate: string, reason: string }[]} rejected
 * @property {string} [remedy]
 */

/** @param {unknown} error */
const reasonOf = (error) => (error instanceof Error ? error.message : String(error)).split('\n')[0]

const isClone = existsSync(new URL('../../Cargo.toml', import.meta.url))

/**
 * The command that installs or builds a missing backend.
 *
 * @param {BackendKind} kind
 * @param {string} triple
 */
function remedyFor(kind, triple) {
  if (kind === 'native' && process.env.RUVECTOR_ATTENTION_NATIVE_PATH) {
    return `unset RUVECTOR_ATTENTION_NATIVE_PATH, or set it to a build of version ${version}`
  }
  if (isClone) return `npm run build:${kind}`
  if (kind === 'wasm') return `npm install @ruvector/attention@${version}`
  return PUBLISHED.includes(triple)
    ? `npm install @ruvector/attention-${triple}@${version}`
    : `nothing to install: there is no native build for ${triple}, and WebAssembly is used instead`
}

/**
 * Loads one backend and checks its numbers.
 *
 * @param {BackendKind} kind
 * @param {(rejected: Rejection[]) => Loaded | undefined} load
 * @param {string} triple
 * @returns {Promise<Finding>}
 */
async function examine(kind, load, triple) {
  /** @type {Rejection[]} */
  const rejected = []
  /** @type {Finding} */
  const finding = { kind, runs: false, rejected: [] }
  /** @type {Loaded | undefined} */
  let loaded
  try {
    loaded = load(rejected)
  } catch (error) {
    rejected.push({ candidate: 'environment', error: /** @type {Error} */ (error) })
  }
  finding.rejected = (loaded?.rejected ?? rejected).map(({ candidate, error }) => ({
    candidate,
    reason: reasonOf(error)
  }))
  if (loaded === undefined) return { ...finding, remedy: remedyFor(kind, triple) }
  try {
    const [{ Backend }, { createApi }] = await Promise.all([import('../runtime/backend.js'), import('../face/api.js')])
    const backend = new Backend(() => loaded)
    const check = selfCheck(createApi(backend))
    const { simd, threads } = backend.describe()
    return { ...finding, runs: true, simd, threads, check }
  } catch (error) {
    finding.rejected.push({ candidate: 'first call', reason: reasonOf(error) })
    return { ...finding, remedy: remedyFor(kind, triple) }
  }
}

/** The runtime's name and version. */
function runtime() {
  const { bun, deno, node } = /** @type {Record<string, string | undefined>} */ (process.versions)
  if (bun) return { name: 'Bun', version: bun }
  return deno ? { name: 'Deno', version: deno } : { name: 'Node', version: String(node) }
}

/** @param {string} triple */
function libcOf(triple) {
  if (process.platform !== 'linux') return null
  if (triple.endsWith('musl')) return 'musl'
  const { header } = /** @type {any} */ (process.report?.getReport() ?? {})
  return header?.glibcVersionRuntime ? `glibc ${header.glibcVersionRuntime}` : 'glibc'
}

async function diagnose() {
  const environment = Object.fromEntries(
    VARIABLES.flatMap((name) => (process.env[name] ? [[name, String(process.env[name])]] : []))
  )
  const triple = platformTriple()
  /** @type {typeof import('../loaders/loader.js')} */
  let parts
  try {
    parts = await import('../loaders/loader.js')
  } catch (error) {
    // The JavaScript glue of the WebAssembly module is missing or broken.
    const problem = `the package is incomplete: ${reasonOf(error)}`
    return { ...about(triple, environment), runs: null, problem, backends: [], remedy: remedyFor('wasm', triple) }
  }
  const backends = [await examine('native', parts.loadNative, triple), await examine('wasm', parts.loadWasm, triple)]
  return { ...about(triple, environment), ...outcome(parts.loader, backends), backends }
}

/**
 * @param {string} triple
 * @param {Record<string, string>} environment
 */
function about(triple, environment) {
  const { platform, arch } = process
  return {
    version,
    runtime: runtime(),
    platform,
    arch,
    libc: libcOf(triple),
    triple,
    processor: { model: cpus()[0]?.model.trim() ?? 'unknown', threads: availableParallelism() },
    environment
  }
}

/**
 * The backend that a program would use.
 *
 * @param {import('../entries/entry.js').Loader} loader
 * @param {readonly Finding[]} backends
 */
function outcome(loader, backends) {
  try {
    const { kind } = loader.loadSync()
    const found = backends.find((finding) => finding.kind === kind)
    if (!found?.runs) return { runs: null, problem: `${kind} loads but does not run` }
    if (!found.check?.passed) return { runs: kind, problem: `${kind} returns wrong numbers: please report this` }
    return { runs: kind, problem: null }
  } catch (error) {
    return { runs: null, problem: reasonOf(error) }
  }
}

/** @typedef {Awaited<ReturnType<typeof diagnose>>} Diagnosis */

/** @param {number} count @param {string} thing */
const plural = (count, thing) => `${count} ${thing}${count === 1 ? '' : 's'}`

/** @param {Finding} finding */
function describe({ kind, runs, simd, threads, check, rejected, remedy }) {
  const numbers = check?.passed
    ? `matches plain JavaScript to ${check.difference.toExponential(0)}`
    : `differs from plain JavaScript by ${check?.difference.toExponential(0)}`
  const state = runs ? `${simd}, ${plural(threads ?? 1, 'thread')}; ${numbers}` : 'does not run'
  return [
    `${runs && check?.passed ? '✔' : '✘'} ${kind.padEnd(7)} ${state}`,
    ...rejected.map(({ candidate, reason }) => `    ${candidate}: ${reason}`),
    ...(remedy === undefined ? [] : [`    To fix it: ${remedy}`])
  ]
}

/** @param {Diagnosis} diagnosis */
function verdict({ runs, problem, environment }) {
  const forced = environment.RUVECTOR_ATTENTION_BACKEND
  if (runs === null) return `Programs have no backend: ${problem}.`
  if (problem !== null) return `Programs use ${runs}, but ${problem}.`
  if (runs === 'native') return 'Programs use the native backend.'
  const why =
    forced === 'wasm' ? 'because RUVECTOR_ATTENTION_BACKEND is set to it' : 'because the native backend does not run'
  return `Programs use WebAssembly ${why}: the same numbers, on one thread.`
}

/** @param {Diagnosis} diagnosis */
function formatDiagnosis(diagnosis) {
  const { runtime, platform, arch, libc, processor, environment, backends } = diagnosis
  const system = [`${runtime.name} ${runtime.version}`, `${platform} ${arch}${libc ? ` with ${libc}` : ''}`]
  const lines = [
    `@ruvector/attention ${version}, ${system.join(', ')}`,
    `${processor.model}, ${plural(processor.threads, 'processor')}`,
    ...Object.entries(environment).map(([name, value]) => `${name}=${value}`),
    '',
    ...backends.flatMap(describe),
    ...(backends.length === 0 && 'remedy' in diagnosis ? [`✘ To fix it: ${diagnosis.remedy}`] : []),
    '',
    verdict(diagnosis)
  ]
  return `${lines.join('\n')}\n`
}

await program(USAGE, {}, async ({ json }) => {
  const diagnosis = await diagnose()
  return {
    text: json ? `${JSON.stringify(diagnosis, null, 2)}\n` : formatDiagnosis(diagnosis),
    code: diagnosis.problem === null ? 0 : 1
  }
})
