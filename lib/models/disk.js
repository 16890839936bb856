// The file system of Node, Deno and Bun, for corpora; other runtimes have none.

import { AttentionError, fault } from '../checks/errors.js'

/** Node's modules, loaded on demand, so that bundles for pages contain none of them. */
export function disk() {
  const load = /** @type {any} */ (globalThis).process?.getBuiltinModule
  if (!load) throw fault('BACKEND', 'folder', 'a runtime with a file system', 'a runtime without one')
  return {
    fs: /** @type {typeof import('node:fs/promises')} */ (load('node:fs/promises')),
    path: /** @type {typeof import('node:path')} */ (load('node:path')),
    crypto: /** @type {typeof import('node:crypto')} */ (load('node:crypto'))
  }
}

/**
 * The bytes of a file in pieces. Each piece is valid until the next one is requested.
 *
 * @param {string} path
 * @param {string} argument  the caller's name for the file, for messages
 */
export async function* piecesOf(path, argument) {
  const file = await opened(path, argument)
  try {
    const piece = new Uint8Array(1 << 20)
    for (;;) {
      const { bytesRead } = await file.read(piece, 0, piece.length)
      if (bytesRead === 0) return
      yield piece.subarray(0, bytesRead)
    }
  } finally {
    await file.close()
  }
}

/**
 * The bytes of a file from `start` to `end`, or to the end of the file if that comes first.
 *
 * @param {string} path
 * @param {number} start
 * @param {number} end
 * @param {string} argument
 */
export async function bytesOf(path, start, end, argument) {
  const file = await opened(path, argument)
  try {
    const bytes = new Uint8Array(end - start)
    let done = 0
    while (done < bytes.length) {
      const { bytesRead } = await file.read(bytes, done, bytes.length - done, start + done)
      if (bytesRead === 0) break
      done += bytesRead
    }
    return bytes.subarray(0, done)
  } finally {
    await file.close()
  }
}

/**
 * @param {string} path
 * @param {string} argument
 */
async function opened(path, argument) {
  try {
    return await disk().fs.open(path, 'r')
  } catch (cause) {
    throw fileFault(argument, cause)
  }
}

/**
 * The error for a file that the system refuses.
 *
 * @param {string} argument
 * @param {unknown} cause
 */
export function fileFault(argument, cause) {
  const { message } = /** @type {Error} */ (cause)
  const expected = 'a file that can be read'
  return new AttentionError('FORMAT', {
    argument,
    expected,
    actual: message,
    message: `${argument}: ${message}`,
    cause
  })
}

/**
 * Writes a file beside its place, flushes it to the disk and renames it, so that the file is absent or whole whenever
 * a process or the machine stops. Processes that write the same file do not disturb each other.
 *
 * @param {string} path
 * @param {string | Uint8Array} contents
 */
export async function writeWhole(path, contents) {
  const { crypto, fs } = disk()
  const part = `${path}.${crypto.randomUUID()}${PART}`
  try {
    const file = await fs.open(part, 'w')
    try {
      await file.writeFile(contents)
      await file.sync()
    } finally {
      await file.close()
    }
    await fs.rename(part, path)
  } catch (error) {
    await fs.rm(part, { force: true })
    throw error
  }
}

const PART = '.part'

/**
 * Removes what interrupted writes left in a folder.
 *
 * @param {string} folder
 */
export async function removeParts(folder) {
  const { fs, path } = disk()
  for (const name of await fs.readdir(folder)) {
    if (name.endsWith(PART)) await fs.rm(path.join(folder, name), { force: true })
  }
}

/** A running SHA-256. */
export const sha256 = () => disk().crypto.createHash('sha256')
