// Converts the matrices of a model's folder to another type, and copies its other files.

import { cp, mkdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join, relative, resolve, sep } from 'node:path'
import { exactNames, rowsOf } from '../models/checkpoint.js'
import { Failure } from './program.js'
import { quantizeFile } from './quantize-file.js'

const WEIGHTS = 'model.safetensors'
const INDEX = `${WEIGHTS}.index.json`

/** @param {string} path */
const exists = (path) =>
  stat(path).then(
    () => true,
    () => false
  )

/** @param {string} path @returns {Promise<any>} */
async function readObject(path) {
  const text = await readFile(path, 'utf8')
  try {
    return Object(JSON.parse(text))
  } catch {
    throw new Failure(`${path}: expected JSON`)
  }
}

/**
 * The files that hold the weights of a folder, the one to open first.
 *
 * @param {string} folder
 */
async function weightFiles(folder) {
  if (await exists(join(folder, WEIGHTS))) return [WEIGHTS]
  if (!(await exists(join(folder, INDEX)))) throw new Failure(`${folder}: expected ${WEIGHTS} or ${INDEX}, got neither`)
  const { weight_map: shards } = await readObject(join(folder, INDEX))
  return [INDEX, ...new Set(Object.values(Object(shards)).map(String))]
}

/**
 * Writes a folder for loadModel with matrices of another type, in one file. Entries that a model keeps in 32 bits are
 * copied, and so are the other files, except hidden ones. `output` appears once it is whole.
 *
 * @param {string} input
 * @param {string} output
 * @param {Omit<Parameters<typeof quantizeFile>[2], 'exact'>} options
 */
export async function quantizeFolder(input, output, options) {
  const [from, to] = [resolve(input), resolve(output)]
  if (to.startsWith(from + sep)) throw new Failure(`${output}: expected a folder outside the input`)
  if (await exists(to)) throw new Failure(`${output}: expected the path of a new folder, got an existing one`)
  const files = await weightFiles(from)
  const exact = exactNames(rowsOf(await readObject(join(from, 'config.json'))))
  const left = new Set(files.map((name) => join(from, name)))
  const filter = (/** @type {string} */ path) => !left.has(path) && !/(^|[/\\])\./.test(relative(from, path))
  const partial = `${to}.partial`
  await rm(partial, { recursive: true, force: true })
  try {
    await mkdir(partial, { recursive: true })
    // The hub's cache has links to files elsewhere.
    await cp(from, partial, { recursive: true, dereference: true, filter })
    const result = await quantizeFile(join(from, files[0]), join(partial, WEIGHTS), { ...options, exact })
    await rename(partial, to)
    return result
  } catch (error) {
    await rm(partial, { recursive: true, force: true })
    throw error
  }
}
