// WebAssembly modules: selects the variant for the engine, loads its bytes, and creates a backend from them.

import { instantiate } from '../../packages/wasm/attention.js'
import { program } from '../../packages/wasm/attention.worker.js'
import { spawns } from '../runtime/async/spawn.js'
import { MissingFeature, compiling, hasWebAssembly, validates } from './engine.js'
import { AttentionError, describe, fault } from '../checks/errors.js'
import { applyPatch } from './patch.js'
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

const CHECK_SOURCE =
  'Check `wasm` and `patch`: they must be the attention.simd.wasm and attention.relaxed.patch of this version.'

/**
 * A module and its optional patch, as `init()` accepts them.
 *
 * @typedef {{ wasm: unknown, patch?: unknown }} Source
 */

/**
 * Creates a backend from any values that `init({ wasm, patch })` accepts.
 *
 * @param {Source} [source]
 * @param {string} [remedy]  the advice if it does not load
 * @returns {Promise<Loaded>}
 */
export function openSource(source = { wasm: undefined }, remedy = CHECK_SOURCE) {
  return only(nameOf(source.wasm), remedy, async () => openWasm(await compile(source)))
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
 * @param {Source} source
 * @returns {Promise<WebAssembly.Module>}
 */
async function compile(source) {
  const [wasm, patch] = await Promise.all([source.wasm, source.patch])
  if (tagOf(wasm) === 'WebAssembly.Module') {
    if (patch !== undefined) throw fault('OPTION', 'patch', 'nothing for a compiled module', describe(patch))
    return /** @type {WebAssembly.Module} */ (wasm)
  }
  if (patch === undefined || variants()[0] === 'simd') return compileOpened(await open('wasm', wasm))
  const [module, change] = await Promise.all([open('wasm', wasm).then(read), open('patch', patch).then(read)])
  return compiling(() => WebAssembly.compile(applyPatch(module, change)))
}

/**
 * Returns the bytes of a source, or the response that contains them.
 *
 * @param {'wasm' | 'patch'} option
 * @param {unknown} source
 * @returns {Promise<Uint8Array<ArrayBuffer> | Response>}
 */
async function open(option, source) {
  const tag = tagOf(source)
  if (tag === 'Response') return /** @type {Response} */ (source)
  if (ArrayBuffer.isView(source)) {
    return new Uint8Array(/** @type {ArrayBuffer} */ (source.buffer), source.byteOffset, source.byteLength)
  }
  if (tag === 'ArrayBuffer' || tag === 'SharedArrayBuffer') return new Uint8Array(/** @type {ArrayBuffer} */ (source))
  if (typeof source === 'string' || tag === 'URL') {
    const address = String(source)
    const file = fileOf(address)
    return file === undefined ? fetch(address) : new Uint8Array(readFile(file))
  }
  const compiled = option === 'wasm' ? ', bytes or a WebAssembly.Module' : ' or bytes'
  throw fault('OPTION', option, `a URL, a Response${compiled}`, describe(source))
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

/** @param {Uint8Array<ArrayBuffer> | Response} opened */
async function compileOpened(opened) {
  if (isResponse(opened) && opened.ok && canStream(opened)) {
    return compiling(() => WebAssembly.compileStreaming(opened))
  }
  const bytes = await read(opened)
  try {
    return await compiling(() => WebAssembly.compile(bytes))
  } catch (error) {
    throw error instanceof MissingFeature ? error : inContext(opened, toError(error))
  }
}

/**
 * True if the engine compiles a response while it arrives. It does so only for exactly this type, although the bytes
 * may be right with another one.
 *
 * @param {Response} response
 */
const canStream = (response) =>
  typeOf(response) === 'application/wasm' && hasWebAssembly() && typeof WebAssembly.compileStreaming === 'function'

/** @param {Response} response */
const typeOf = ({ headers }) => headers.get('content-type') ?? ''

/** @param {Uint8Array | Response} opened @returns {opened is Response} */
const isResponse = (opened) => !ArrayBuffer.isView(opened)

/** @param {Uint8Array<ArrayBuffer> | Response} opened */
async function read(opened) {
  if (isResponse(opened) && !opened.ok) {
    throw new Error(`${opened.url || 'the response'} answered with status ${opened.status}`)
  }
  const bytes = isResponse(opened) ? new Uint8Array(await opened.arrayBuffer()) : opened
  const text = new TextDecoder('latin1').decode(bytes.subarray(0, 64)).trimStart()
  if (!text.startsWith('<')) return bytes
  const got = `got HTML instead of WebAssembly (${text.slice(0, 24)}…): the server has no such file`
  throw inContext(opened, new Error(got))
}

/**
 * Adds the address and content type of a response to an error.
 *
 * @param {Uint8Array | Response} opened
 * @param {Error} error
 */
function inContext(opened, error) {
  if (!isResponse(opened)) return error
  const where = `${opened.url || 'the response'}: ${error.message} (content type ${typeOf(opened) || 'not given'})`
  return new Error(where, { cause: error })
}
