// The vectors of a corpus in a folder: a manifest, and shards of a fixed number of texts. A shard is written aside and
// renamed when it is whole, so that a run that was interrupted can be resumed.

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, readFile, readdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openSafetensors } from '../weights/open.js'
import { saveSafetensors } from '../weights/save.js'
import { Failure } from './program.js'
import { readTexts } from './texts.js'

/** @typedef {import('./texts.js').Text} Text */
/** @typedef {{ data: Float32Array, shape: readonly number[] }} Vectors */
/**
 * The origin of the vectors in a folder. Vectors of another input, model or option are never added to them.
 *
 * @typedef {object} Manifest
 * @property {1} version
 * @property {{ path: string, field: string, texts: number, sha256: string }} input
 * @property {{ family: string, sha256: string }} model
 * @property {{ prompt?: string | undefined, normalize?: boolean | undefined, dimensions?: number | undefined }} options
 * @property {number} shardTexts  texts per shard
 */

const MANIFEST = 'manifest.json'

const shardName = (/** @type {number} */ index) => `shard-${String(index).padStart(6, '0')}`

/**
 * Hashes files in order.
 *
 * @param {readonly string[]} paths  files that exist
 */
async function hashOf(paths) {
  const hash = createHash('sha256')
  for (const path of paths) for await (const piece of createReadStream(path)) hash.update(piece)
  return hash.digest('hex')
}

/**
 * Identifies a model by the contents of its folder, whatever the order in which the system lists it.
 *
 * @param {string} folder
 */
export async function identify(folder) {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true })
  const paths = entries
    .filter((entry) => entry.isFile() && /\.(json|safetensors)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
  return hashOf(paths.sort())
}

/**
 * Counts the texts of an input, and hashes it.
 *
 * @param {string} path
 * @param {string} field
 */
export async function describeInput(path, field) {
  let texts = 0
  for await (const _ of readTexts(path, field)) texts++
  return { path, field, texts, sha256: await hashOf([path]) }
}

/** @param {string} folder @returns {Promise<Manifest | undefined>} */
export async function readManifest(folder) {
  let text
  try {
    text = await readFile(join(folder, MANIFEST), 'utf8')
  } catch {
    return undefined
  }
  try {
    return JSON.parse(text)
  } catch {
    throw new Failure(`${join(folder, MANIFEST)}: not JSON`)
  }
}

/**
 * Opens the folder of a run. A folder with vectors is refused unless the run resumes and everything but the input's
 * path is the same.
 *
 * @param {string} folder
 * @param {Manifest} manifest
 * @param {boolean} resumes
 */
export async function openCorpus(folder, manifest, resumes) {
  const known = await readManifest(folder)
  if (known !== undefined && !resumes)
    throw new Failure(`${folder} has vectors; resume with --resume, or name another folder`)
  if (known !== undefined) {
    const essence = (/** @type {Manifest} */ { input: { path: _path, ...input }, ...rest }) =>
      JSON.stringify({ ...rest, input })
    if (essence(known) !== essence(manifest)) {
      throw new Failure(`${folder} has vectors of another input, model or options; name another folder`)
    }
    return
  }
  await mkdir(folder, { recursive: true })
  await writeWhole(join(folder, MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`)
}

/**
 * @param {string} path
 * @param {string | Uint8Array} contents
 */
async function writeWhole(path, contents) {
  await writeFile(`${path}.part`, contents)
  await rename(`${path}.part`, path)
}

/** @param {readonly Text[]} texts */
const digestOf = (texts) => createHash('sha256').update(JSON.stringify(texts)).digest('hex')

/**
 * Returns true if a shard of these texts is there and whole, from its header and size.
 *
 * @param {string} folder
 * @param {number} index
 * @param {readonly Text[]} texts
 */
export async function hasShard(folder, index, texts) {
  try {
    const { file, digest } = await openShard(folder, index)
    await file.close()
    return digest === digestOf(texts)
  } catch {
    return false
  }
}

/**
 * Writes a shard: the tensor `vectors`, and the ids of its texts in the metadata.
 *
 * @param {string} folder
 * @param {number} index
 * @param {readonly Text[]} texts
 * @param {Vectors} vectors
 */
export async function writeShard(folder, index, texts, vectors) {
  const metadata = { ids: JSON.stringify(texts.map(({ id }) => id)), digest: digestOf(texts) }
  const bytes = saveSafetensors({ vectors }, metadata)
  await writeWhole(join(folder, `${shardName(index)}.safetensors`), bytes)
}

/**
 * @param {string} folder
 * @param {number} index
 */
async function openShard(folder, index) {
  const file = await openSafetensors(join(folder, `${shardName(index)}.safetensors`))
  const { ids, digest } = file.metadata
  return { file, digest, ids: /** @type {Text['id'][]} */ (JSON.parse(ids)) }
}

/**
 * Reads the shards of a finished folder, in order.
 *
 * @param {string} folder
 * @param {Manifest} manifest
 */
export async function* readShards(folder, { input, shardTexts }) {
  for (let index = 0; index * shardTexts < input.texts; index++) {
    let shard
    try {
      const { file, ids } = await openShard(folder, index)
      shard = { ids, vectors: /** @type {Vectors} */ (await file.tensor('vectors')) }
      await file.close()
    } catch {
      throw new Failure(`${folder}: shard ${index} is missing or incomplete; finish it with embed --resume`)
    }
    yield shard
  }
}

/**
 * The texts of an input in groups, each the texts of one shard.
 *
 * @param {Manifest} manifest
 */
export async function* groupsOf({ input: { path, field }, shardTexts }) {
  /** @type {Text[]} */
  let group = []
  for await (const text of readTexts(path, field)) {
    group.push(text)
    if (group.length < shardTexts) continue
    yield group
    group = []
  }
  if (group.length > 0) yield group
}
