// WebAssembly modules: selects the variant for the engine, loads its bytes, and creates a backend from them.

import { instantiate } from '../../packages/wasm/attention.js'
import { program } from '../../packages/wasm/attention.worker.js'
import { spawns } from '../runtime/async/spawn.js'
import { MissingFeature, compiling, hasWebAssembly, validates } from './engine.js'
import { AttentionError, describe, fault } from '../checks/errors.js'
import { version } from '../version.js'

/** @typedef {import('../runtime/backend.js').Loaded} Loaded */
/** @typedef {import('../runtime/backend.js').Rejection} Rejection */
/** @typedef {'simd' | 'relaxed'} Variant */

// The smallest module that contains an i8x16.relaxed_swizzle.
const RELAXED_PROBE = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15, 253, 128, 2, 11] // prettier-ignore

/**
 * The variants that this engine supports, the faster one first. Without any SIMD, compiling reports the error.
 *
 * @returns {Variant[]}
 */
export function variants() {
  return hasWebAssembly() && validates(RELAXED_PROBE) ? ['relaxed', 'simd'] : ['simd']
}

/**
 * Creates a backend from a compiled module.
 *
 * @param {WebAssembly.Module} module
 * @param {readonly Rejection[]} [rejected]
 * @returns {Loaded}
 */
export function openWasm(module, rejected = []) {
  const binding = instantiate(module)
  checkVersion(binding)
  return {
    kind: 'wasm',
    binding,
    restart: () => instantiate(module),
    module,
    spawns: spawns(program),
    rejected: [...rejected]
  }
}

/**
 * Throws for a build of another version, such as a cached file.
 *
 * @param {import('../runtime/binding.d.ts').Binding} binding
 */
export function checkVersion(binding) {
  const found = binding.version()
  if (found !== version) throw new Error(`it is version ${found}, and the package is version ${version}`)
}

/**
 * Creates the error for the case that no candidate could be loaded.
 *
 * @param {Rejection[]} rejected
 * @param {string} remedy
 */
export function noBackend(rejected, remedy) {
  const reasons = rejected.map(({ candidate, error }) => `  ${candidate}: ${error.message.split('\n')[0]}`)
  return new AttentionError('BACKEND', {
    argument: 'backend',
    expected: 'a backend that loads',
    actual: reasons.map((reason) => reason.trim()).join('; '),
    message: ['no backend could be loaded', ...reasons, remedy].join('\n'),
    cause: new AggregateError(rejected.map(({ error }) => error))
  })
}

/**
 * Converts what `attempt` throws into a BACKEND error that names the candidate.
 *
 * @template T
 * @param {string} candidate
 * @param {string} remedy
 * @param {() => Promise<T>} attempt
 */
export async function only(candidate, remedy, attempt) {
  try {
    return await attempt()
  } catch (error) {
    if (error instanceof AttentionError) throw error
    throw noBackend([{ candidate, error: toError(error) }], error instanceof MissingFeature ? error.remedy : remedy)
  }
}

/** @param {unknown} error */
export function toError(error) {
  return error instanceof Error ? error : new Error(String(error))
}

const CHECK_SOURCE = 'Check `wasm`: it must be the attention.simd.wasm or attention.relaxed.wasm of this version.'

/**
 * Creates a backend from any value that `init({ wasm })` accepts.
 *
 * @param {unknown} source
 * @param {string} [remedy]  the advice if it does not load
 * @returns {Promise<Loaded>}
 */
export function openSource(source, remedy = CHECK_SOURCE) {
  return only(nameOf(source), remedy, async () => openWasm(await compile(source)))
}

/** @param {unknown} source */
function nameOf(source) {
  const tag = tagOf(source)
  return typeof source === 'string' || tag === 'URL' ? String(source) : tag
}

/** @param {unknown} value */
function tagOf(value) {
  return Object.prototype.toString.call(value).slice('[object '.length, -1)
}

/**
 * @param {unknown} source
 * @returns {Promise<WebAssembly.Module>}
 */
async function compile(source) {
  const awaited = await source
  const tag = tagOf(awaited)
  if (tag === 'WebAssembly.Module') return /** @type {WebAssembly.Module} */ (awaited)
  if (tag === 'Response') return compileResponse(/** @type {Response} */ (awaited))
  if (ArrayBuffer.isView(awaited) || tag === 'ArrayBuffer' || tag === 'SharedArrayBuffer') {
    return compileBytes(/** @type {BufferSource} */ (awaited))
  }
  if (typeof awaited === 'string' || tag === 'URL') {
    const address = String(awaited)
    const file = fileOf(address)
    return file === undefined ? compileResponse(await fetch(address)) : compileBytes(readFile(file))
  }
  throw fault('OPTION', 'wasm', 'a URL, a Response, bytes or a WebAssembly.Module', describe(awaited))
}

/**
 * Returns the path or file URL of an address, or undefined if it must be fetched.
 *
 * @param {string} address
 * @returns {string | URL | undefined}
 */
function fileOf(address) {
  // `process` alone does not prove Node, since bundlers substitute it.
  if (globalThis.process?.getBuiltinModule === undefined) return undefined
  if (address.startsWith('file:')) return new URL(address)
  // A drive letter is not a scheme.
  return /^[a-z][a-z0-9+.-]+:/i.test(address) ? undefined : address
}

/** @param {string | URL} path */
function readFile(path) {
  return globalThis.process.getBuiltinModule('node:fs').readFileSync(path)
}

/** @param {Response} response */
async function compileResponse(response) {
  const where = response.url || 'the response'
  if (!response.ok) throw new Error(`${where} answered with status ${response.status}`)
  const type = response.headers.get('content-type') ?? ''
  // The engine compiles streams only of exactly this type; with another type, the bytes may still be right.
  if (type === 'application/wasm' && hasWebAssembly() && typeof WebAssembly.compileStreaming === 'function') {
    return compiling(() => WebAssembly.compileStreaming(response))
  }
  const bytes = new Uint8Array(await response.arrayBuffer())
  try {
    return await compileBytes(bytes)
  } catch (error) {
    if (error instanceof MissingFeature) throw error
    throw new Error(`${where}: ${toError(error).message} (content type ${type || 'not given'})`, { cause: error })
  }
}

/** @param {BufferSource} source */
async function compileBytes(source) {
  const bytes = ArrayBuffer.isView(source)
    ? new Uint8Array(source.buffer, source.byteOffset, source.byteLength)
    : new Uint8Array(source)
  const text = new TextDecoder('latin1').decode(bytes.subarray(0, 64)).trimStart()
  if (text.startsWith('<')) {
    throw new Error(`got HTML instead of WebAssembly (${text.slice(0, 24)}…): the server has no such file`)
  }
  return compiling(() => WebAssembly.compile(/** @type {BufferSource} */ (bytes)))
}
