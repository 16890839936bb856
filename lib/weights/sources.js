// Files that are read in pieces: on disk, at a URL, in a Blob, or through a caller's function.

import { AttentionError, describe, fault, isFunction, isObject } from '../checks/errors.js'
import { arrayType, bytesBetween, isLength, lengthOf } from '../checks/tensor.js'
import { changed, cutShort, malformed, unreadable } from './faults.js'
import { openUrl } from './http.js'

/**
 * A file of known size. `read` fills `target` with the bytes starting at `offset`, or rejects. `sibling` opens another
 * file in the same folder.
 *
 * @typedef {object} Source
 * @property {string} label  the caller's name for the file, for messages
 * @property {number} size
 * @property {(target: Uint8Array, offset: number) => Promise<void>} read
 * @property {() => Promise<void>} close
 * @property {(name: string) => Promise<Source>} [sibling]
 */

/** The maximum number of bytes to request from a file or a function at a time. */
const PIECE_BYTES = 1 << 24

/** The maximum number of bytes to request from a Blob at a time. */
const BLOB_BYTES = 1 << 20

/**
 * Opens the caller's source.
 *
 * @param {unknown} source
 * @param {string} [label]  its name in messages
 * @returns {Promise<Source>}
 */
export async function openSource(source, label = 'source') {
  if (typeof source === 'string') return openAddress(source, label)
  if (isObject(source) && arrayType(source) === undefined) {
    const tag = Object.prototype.toString.call(source)
    if (tag === '[object URL]') return openAddress(`${source}`, label)
    if (tag === '[object Blob]' || tag === '[object File]') return openBlob(/** @type {Blob} */ (source), label)
    const { read, stat } = /** @type {any} */ (source)
    if (isFunction(read) && isFunction(stat)) return openHandle(/** @type {any} */ (source), label)
    if (isFunction(read)) return openReader(/** @type {any} */ (source), label)
  }
  // Reading the tag of a revoked proxy would throw.
  const isBuffer = isObject(source) && Object.prototype.toString.call(source).endsWith('ArrayBuffer]')
  const isBytes = isBuffer || ArrayBuffer.isView(source)
  throw fault(
    'DTYPE',
    label,
    `a path, a URL, a Blob, a FileHandle or { size, read }${isBytes ? '; loadSafetensors takes bytes' : ''}`,
    describe(source)
  )
}

/**
 * @param {string} address  a URL, or a path in runtimes with a file system
 * @param {string} label
 * @returns {Promise<Source>}
 */
async function openAddress(address, label) {
  const process = /** @type {any} */ (globalThis).process
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(address)?.[1].toLowerCase()
  if (scheme === undefined || scheme === 'file') {
    const fs = process?.getBuiltinModule?.('node:fs/promises')
    if (fs) {
      const path = scheme ? process.getBuiltinModule('node:url').fileURLToPath(address) : address
      return openPath(fs, process.getBuiltinModule('node:path'), path, label)
    }
  }
  const { document, location } = /** @type {any} */ (globalThis)
  let url
  try {
    url = new URL(address, document?.baseURI ?? location?.href)
  } catch {
    throw fault('OPTION', label, 'a URL; this runtime has no file system', describe(address))
  }
  if (url.protocol === 'http:' || url.protocol === 'https:') return openUrl(url, label)
  return openBlob(await fetchWhole(url, label), label)
}

/**
 * The contents of a URL that does not support ranges, such as `blob:` and `data:`.
 *
 * @param {URL} url
 * @param {string} label
 */
async function fetchWhole(url, label) {
  try {
    return await (await fetch(url)).blob()
  } catch (cause) {
    throw unreadable(label, cause)
  }
}

/**
 * @param {typeof import('node:fs/promises')} fs
 * @param {typeof import('node:path')} paths
 * @param {string} path
 * @param {string} label
 * @returns {Promise<Source>}
 */
async function openPath(fs, paths, path, label) {
  /** @type {import('node:fs/promises').FileHandle | undefined} */
  let handle
  try {
    handle = await fs.open(path, 'r')
    const opened = handle
    const source = await openHandle(opened, label)
    return {
      ...source,
      close: () => opened.close(),
      sibling: (name) => openPath(fs, paths, paths.join(paths.dirname(path), name), name)
    }
  } catch (error) {
    await handle?.close()
    throw error instanceof AttentionError ? error : unreadable(label, error)
  }
}

/**
 * @param {import('node:fs/promises').FileHandle} handle
 * @param {string} label
 * @returns {Promise<Source>}
 */
async function openHandle(handle, label) {
  const first = await handle.stat()
  const { size, mtimeMs, isDirectory } = first
  if (isFunction(isDirectory) && isDirectory.call(first)) {
    throw malformed(label, 'a folder: name its model.safetensors or model.safetensors.index.json')
  }
  if (!isLength(size)) throw fault('OPTION', `${label}.stat`, 'a size in bytes', describe(size))
  return inPieces(label, size, {
    async readPiece(piece, offset) {
      const { length } = piece
      const { bytesRead } = await handle.read(piece, 0, length, offset)
      if (!(bytesRead > 0 && bytesRead <= length)) throw cutShort(label, size, offset)
      return bytesRead
    },
    async isChanged() {
      const now = await handle.stat()
      return now.size !== size || now.mtimeMs !== mtimeMs
    }
  })
}

/**
 * @param {Blob} blob
 * @param {string} label
 * @returns {Promise<Source>}
 */
async function openBlob(blob, label) {
  const size = checkSize(blob.size, label)
  return inPieces(label, size, {
    // In Chromium's workers, parallel reads of a Blob's streams stop without an end or an error.
    async readPiece(piece, offset) {
      const end = offset + Math.min(piece.length, BLOB_BYTES)
      const part = await blob
        .slice(offset, end)
        .arrayBuffer()
        .catch((error) => {
          throw unreadable(label, error)
        })
      const { byteLength } = part
      if (byteLength === 0) throw cutShort(label, size, offset)
      piece.set(new Uint8Array(part))
      // Frees the memory at once, where the engine can: as garbage, the parts would take as much as the tensor.
      const { transfer } = /** @type {{ transfer?: (length: number) => ArrayBuffer }} */ (/** @type {unknown} */ (part))
      transfer?.call(part, 0)
      return byteLength
    },
    isChanged: () => false
  })
}

/**
 * @param {unknown} size
 * @param {string} label
 */
function checkSize(size, label) {
  if (isLength(size)) return size
  throw fault('OPTION', `${label}.size`, 'a number of bytes', describe(size))
}

/**
 * @param {{ size: number, read(offset: number, length: number): Promise<Uint8Array> }} reader
 * @param {string} label
 * @returns {Promise<Source>}
 */
async function openReader(reader, label) {
  // Read once, because a getter may return another value the next time.
  const { size: given, read } = reader
  if (!isFunction(read)) throw fault('DTYPE', `${label}.read`, 'a function', describe(read))
  const size = checkSize(given, label)
  return inPieces(label, size, {
    async readPiece(piece, offset) {
      const { length } = piece
      const bytes = await read.call(reader, offset, length)
      if (arrayType(bytes) !== 'Uint8Array') {
        throw fault('DTYPE', `${label}.read`, 'a promise of a Uint8Array', describe(bytes))
      }
      const count = lengthOf(bytes)
      if (count < length) throw cutShort(label, size, offset + count)
      if (count > length) throw fault('FORMAT', `${label}.read`, `${length} bytes`, `${count} bytes`)
      piece.set(bytesBetween(bytes, 0, length))
      return length
    },
    isChanged: () => reader.size !== size
  })
}

/**
 * A source that is read in pieces. `readPiece` fills the beginning of a piece with the bytes starting at `offset`, and
 * returns their number.
 *
 * @param {string} label
 * @param {number} size
 * @param {object} file
 * @param {(piece: Uint8Array, offset: number) => Promise<number>} file.readPiece
 * @param {() => boolean | Promise<boolean>} file.isChanged
 * @returns {Source}
 */
function inPieces(label, size, { readPiece, isChanged }) {
  return {
    label,
    size,
    async read(target, offset) {
      for (let done = 0; done < target.length;) {
        const end = Math.min(target.length, done + PIECE_BYTES)
        done += await readPiece(target.subarray(done, end), offset + done)
      }
      if (await isChanged()) throw changed(label)
    },
    close: async () => {}
  }
}
