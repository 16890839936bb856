// Finds the backend in Node, Deno and Bun: native code if any candidate loads, else WebAssembly from the package's
// file.

import { compiling } from './engine.js'
import { AttentionError, describe, fault } from '../checks/errors.js'
import { compileInlined } from './inlined.js'
import { applyPatch } from './patch.js'
import { platformTriple } from './platform.js'
import { checkVersion, noBackend, openSource, openWasm, toError, variants } from './wasm.js'
import { version } from '../version.js'

/** @typedef {import('../runtime/binding.d.ts').Binding} Binding */
/** @typedef {import('../runtime/backend.js').Loaded} Loaded */
/** @typedef {import('../runtime/backend.js').Rejection} Rejection */
/** @typedef {import('../../index.d.ts').BackendKind} BackendKind */

/** @param {string} name */
function environment(name) {
  try {
    return process.env[name] || undefined
  } catch {
    // Deno throws without a permission.
    return undefined
  }
}

// Bundlers for Node do not rewrite calls in this form.
function createRequire() {
  return process.getBuiltinModule('node:module').createRequire(import.meta.url || `${process.cwd()}/`)
}

/**
 * @param {Rejection[]} rejected  receives the reason for each candidate that fails
 * @returns {Loaded | undefined}
 */
export function loadNative(rejected) {
  const require = createRequire()
  const given = environment('RUVECTOR_ATTENTION_NATIVE_PATH')
  const triple = platformTriple()
  const candidates = given
    ? [{ candidate: given, open: () => require(process.getBuiltinModule('node:path').resolve(given)) }]
    : [
        {
          candidate: `packages/native/attention.${triple}.node`,
          open: () => require(`../../packages/native/attention.${triple}.node`)
        },
        { candidate: `@ruvector/attention-${triple}`, open: () => require(`@ruvector/attention-${triple}`) }
      ]
  for (const { candidate, open } of candidates) {
    try {
      /** @type {Binding} */
      const binding = open()
      checkVersion(binding)
      checkLevel(binding.simdLevel())
      // A missing local build is normal outside a clone, so it is not reported once the platform's package loads.
      return { kind: 'native', binding, rejected: rejected.filter(({ error }) => !isMissing(error)) }
    } catch (error) {
      if (error instanceof AttentionError) throw error
      rejected.push({ candidate, error: toError(error) })
    }
  }
  return undefined
}

/** @param {Error & { code?: string }} error */
const isMissing = ({ code }) => code === 'MODULE_NOT_FOUND'

/**
 * Throws if native code does not run at the instruction set that RUVECTOR_ATTENTION_SIMD names.
 *
 * @param {string} level  the instruction set in use
 */
function checkLevel(level) {
  const name = 'RUVECTOR_ATTENTION_SIMD'
  const asked = environment(name)
  if (asked === undefined || asked === level) return
  const expected = "'amx', 'avx512', 'avx2', 'sse2', 'neon' or 'portable', as far as this machine has them"
  throw fault('BACKEND', name, expected, describe(asked))
}

/**
 * A module as the package ships it: the start of its files' names, their URLs, and its bytes inside JavaScript.
 *
 * @typedef {object} Shipped
 * @property {string} name
 * @property {() => URL} wasm
 * @property {() => URL} patch
 * @property {() => Promise<import('./inlined.js').Inlined>} inlined
 */

// Literals, so that bundlers copy the files; a composed name could resolve to another file.
/** @type {Shipped} */
const complete = {
  name: 'attention',
  wasm: () => new URL('../../packages/wasm/attention.simd.wasm', import.meta.url),
  patch: () => new URL('../../packages/wasm/attention.relaxed.patch', import.meta.url),
  inlined: () => import('../../packages/wasm/attention.inline.js')
}

/** @param {() => URL} file @param {string} name */
function readShipped(file, name) {
  const fs = process.getBuiltinModule('node:fs')
  try {
    return fs.readFileSync(file())
  } catch (error) {
    // In a bundle, this code is no longer next to the file, but the package can still be resolved.
    try {
      return fs.readFileSync(createRequire().resolve(`@ruvector/attention/${name}`))
    } catch {
      throw error
    }
  }
}

/**
 * @param {Rejection[]} rejected  receives the reason for each variant that fails
 * @param {Shipped} [shipped]
 * @returns {Loaded | undefined}
 */
export function loadWasm(rejected, { name, wasm, patch } = complete) {
  for (const variant of variants()) {
    const candidate = variant === 'relaxed' ? `${name}.relaxed.patch` : `${name}.simd.wasm`
    try {
      const module = readShipped(wasm, `${name}.simd.wasm`)
      const bytes = variant === 'relaxed' ? applyPatch(module, readShipped(patch, candidate)) : module
      return openWasm(
        compiling(() => new WebAssembly.Module(bytes)),
        rejected
      )
    } catch (error) {
      rejected.push({ candidate: `packages/wasm/${candidate}`, error: toError(error) })
    }
  }
  return undefined
}

/** @returns {BackendKind | undefined} */
function forcedKind() {
  const kind = environment('RUVECTOR_ATTENTION_BACKEND')
  if (kind === undefined || kind === 'native' || kind === 'wasm') return kind
  throw fault('BACKEND', 'RUVECTOR_ATTENTION_BACKEND', "'native' or 'wasm'", describe(kind))
}

/**
 * @param {BackendKind | undefined} kind
 * @param {Rejection[]} rejected
 * @param {boolean} [canWait]  whether init() might still find a backend
 */
function failure(kind, rejected, canWait = false) {
  const install = `npm install @ruvector/attention-${platformTriple()}@${version} (in a clone: npm run build)`
  const wait = canWait && kind !== 'native' ? ', or await init() before the first call, which needs no file' : ''
  return noBackend(rejected, `To fix it: ${install}${wait}`)
}

/** @param {Shipped} shipped @param {BackendKind | undefined} kind @param {Rejection[]} rejected */
function find(shipped, kind, rejected) {
  const native = kind === 'wasm' ? undefined : loadNative(rejected)
  return native ?? (kind === 'native' ? undefined : loadWasm(rejected, shipped))
}

/** @param {Shipped} shipped @param {BackendKind} [kind] */
function loadSync(shipped, kind = forcedKind()) {
  /** @type {Rejection[]} */
  const rejected = []
  const loaded = find(shipped, kind, rejected)
  if (!loaded) throw failure(kind, rejected, true)
  return loaded
}

/**
 * Loads a backend from the package. The asynchronous path needs no file, so it works in bundles without the file and in
 * Deno without permission to read.
 *
 * @param {Shipped} shipped
 * @param {BackendKind} [kind]
 * @returns {Promise<Loaded>}
 */
async function loadShipped(shipped, kind) {
  /** @type {Rejection[]} */
  const rejected = []
  const loaded = find(shipped, kind, rejected)
  if (loaded) return loaded
  if (kind === 'native') throw failure(kind, rejected)
  try {
    return openWasm(await compileInlined(await shipped.inlined()), rejected)
  } catch (error) {
    rejected.push({ candidate: 'the inlined module', error: toError(error) })
    throw failure(kind, rejected)
  }
}

/**
 * @param {Shipped} shipped
 * @param {BackendKind} [kind]
 * @param {import('./wasm.js').Source} [source]
 * @returns {Promise<Loaded>}
 */
async function load(shipped, kind = forcedKind(), source) {
  if (source === undefined || kind === 'native') return loadShipped(shipped, kind)
  /** @type {Rejection[]} */
  const rejected = []
  const native = kind === 'wasm' ? undefined : loadNative(rejected)
  return native ?? { ...(await openSource(source)), rejected }
}

/**
 * Writes to standard error if the environment asks for a log.
 *
 * @returns {import('../runtime/log.js').Write | undefined}
 */
function log() {
  const name = 'RUVECTOR_ATTENTION_DEBUG'
  const value = environment(name)
  if (value === undefined || value === '0') return undefined
  if (value !== '1') throw fault('BACKEND', name, "'0' or '1'", describe(value))
  return (line) => console.error(line)
}

/**
 * The loader of an entry, whose module the package ships.
 *
 * @param {Shipped} shipped
 * @returns {import('../entries/entry.js').Loader}
 */
export const createLoader = (shipped) => ({
  loadSync: () => loadSync(shipped),
  load: (kind, source) => load(shipped, kind, source),
  log
})

export const loader = createLoader(complete)
