// The files of a model: a folder on disk or at a URL, or files that the caller passes by name.

import { describe, fault, isArray, isFunction, isObject } from '../checks/errors.js'
import { arrayType } from '../checks/tensor.js'
import { bytesSource } from '../weights/gguf.js'
import { openContentsOf, SafetensorsFile } from '../weights/open.js'
import { openSource } from '../weights/sources.js'
import { GgufFolder } from './gguf.js'
import { decoder, encoder } from '../weights/text.js'

/** @typedef {import('../weights/sources.js').Source} Source */

/** The names of files with weights, in order of preference. */
const WEIGHTS = ['model.safetensors', 'model.safetensors.index.json']

/** Paths, URLs and names of GGUF files. */
const IS_GGUF = /^[^?#]*\.gguf(?:[?#]|$)/i

export class Folder {
  #open
  /** The caller's name for the folder, for messages. */
  label

  /**
   * @param {string} label
   * @param {(name: string) => Promise<Source | undefined>} open  returns undefined if the folder lacks the file
   */
  constructor(label, open) {
    this.label = label
    this.#open = open
  }

  /**
   * Returns a file, or undefined if there is none.
   *
   * @param {string} name
   */
  find(name) {
    return this.#open(name)
  }

  /**
   * Reads a text file; undefined if there is none.
   *
   * @param {string} name
   */
  async text(name) {
    const source = await this.find(name)
    if (source === undefined) return undefined
    const bytes = new Uint8Array(source.size)
    try {
      await source.read(bytes, 0)
    } finally {
      await source.close()
    }
    return decoder('utf-8').decode(bytes)
  }

  /**
   * Reads a JSON file; undefined if there is none.
   *
   * @param {string} name
   * @returns {Promise<any>}
   */
  async json(name) {
    const text = await this.text(name)
    if (text === undefined) return undefined
    try {
      return JSON.parse(text)
    } catch {
      const actual = /^\s*</.test(text) ? 'an HTML page' : 'a text that is not JSON'
      throw fault('FORMAT', name, 'a JSON file', actual)
    }
  }

  /**
   * Reads a JSON object; undefined if there is none.
   *
   * @param {string} name
   * @returns {Promise<Record<string, any> | undefined>}
   */
  async object(name) {
    const value = await this.json(name)
    if (value === undefined || (isObject(value) && !isArray(value))) return value
    throw fault('FORMAT', name, 'a JSON object', describe(value))
  }

  async close() {}

  /**
   * Opens the weights, in one file or in shards.
   *
   * @param {string} [path]  the subfolder, ending with a slash
   */
  async weights(path = '') {
    for (const name of WEIGHTS) {
      const source = await this.find(path + name)
      if (source === undefined) continue
      const folder = path + name.slice(0, name.lastIndexOf('/') + 1)
      const sibling = async (/** @type {string} */ shard) => {
        const found = await this.find(folder + shard)
        if (found === undefined) throw fault('FORMAT', shard, 'a file of the folder, as the index states', 'none')
        return found
      }
      return new SafetensorsFile(await openContentsOf({ ...source, sibling }), 'widen')
    }
    const expected = `${WEIGHTS.map((name) => path + name).join(' or ')} in the folder`
    throw fault('FORMAT', this.label, expected, 'neither')
  }
}

/**
 * Opens the caller's source of a model.
 *
 * @param {unknown} source
 * @returns {Promise<Folder | GgufFolder>}
 */
export async function openFolder(source) {
  const label = 'source'
  const at = (/** @type {string} */ address) =>
    IS_GGUF.test(address) ? GgufFolder.open(address) : new Folder(label, (name) => openAt(address, name))
  if (typeof source === 'string') return at(source)
  if (isObject(source) && !isArray(source) && arrayType(source) === undefined) {
    const tag = Object.prototype.toString.call(source)
    if (tag === '[object URL]') return at(`${source}`)
    if (tag === '[object Object]') {
      const files = /** @type {Record<string, any>} */ (source)
      const file = Object.keys(files).find((name) => IS_GGUF.test(name))
      if (file !== undefined && !Object.hasOwn(files, 'config.json')) return GgufFolder.open(files[file])
      return new Folder(label, (name) => openNamed(files, name))
    }
  }
  throw fault('DTYPE', label, 'the path or URL of a folder, or files by name', describe(source))
}

/**
 * Opens a file of a folder at a path or a URL; undefined if there is none.
 *
 * @param {string} base
 * @param {string} name
 */
async function openAt(base, name) {
  const [address, query = ''] = base.split(/(?=[?#])/)
  const isUrl = /^[a-z][a-z0-9+.-]+:/i.test(base)
  const path = isUrl ? `${address.replace(/\/*$/, '')}/${name}${query}` : `${base.replace(/[/\\]*$/, '')}/${name}`
  try {
    return await openSource(path, name)
  } catch (error) {
    if (isAbsent(error)) return undefined
    throw error
  }
}

/**
 * True for the error about a file that does not exist.
 *
 * @param {any} error
 */
function isAbsent(error) {
  return (
    ['ENOENT', 'ENOTDIR', 'NotFound'].includes(error?.cause?.code) || /^status (404|410)\b/.test(error?.actual ?? '')
  )
}

/**
 * Opens a file that the caller passed by name: bytes, a Blob, an object with `size` and `read`, or parsed JSON.
 *
 * @param {Record<string, any>} files
 * @param {string} name
 * @returns {Promise<Source | undefined>}
 */
async function openNamed(files, name) {
  const file = Object.hasOwn(files, name) ? files[name] : undefined
  if (file === undefined || file === null) return undefined
  if (arrayType(file) === 'Uint8Array') return bytesSource(name, file)
  if (isObject(file) && arrayType(file) === undefined) {
    const tag = Object.prototype.toString.call(file)
    const isFile = tag === '[object Blob]' || tag === '[object File]' || isFunction(/** @type {any} */ (file).read)
    if (isFile) return openSource(file, name)
    return bytesSource(name, encoder().encode(JSON.stringify(file)))
  }
  throw fault('DTYPE', name, 'a Uint8Array, a Blob, { size, read } or the object in a JSON file', describe(file))
}
