// Opens a safetensors file, or the index of a sharded one, and reads its tensors piece by piece.

import { AttentionError, describe, fault, isArray, isObject } from '../checks/errors.js'
import { checkQuantizedEntry, joinScales, prepareQuantized, prepareTensor, readTensor } from './elements.js'
import { entryNamed, malformed } from './faults.js'
import { LENGTH_BYTES, MAX_HEADER_BYTES, byPlace, headerEnd, parseHeader, parseObject } from './header.js'
import { readSelection, select, toState } from './select.js'
import { openSource } from './sources.js'
import { decoder } from './text.js'

/** @typedef {import('./sources.js').Source} Source */
/** @typedef {import('./header.js').Entry} Entry */
/**
 * An entry and the file that holds it.
 *
 * @typedef {Entry & { source: Source, scales?: Entry & { source: Source } }} Placed
 */
/** @typedef {{ sources: Source[], entries: Placed[], metadata: Record<string, string> }} Contents */

/** Bytes read at first: the whole header of most files. */
const FIRST_BYTES = 1 << 16
/** The maximum number of bytes of adjacent tensors in one read. */
const RUN_BYTES = 1 << 20
/** The maximum number of bytes that are converted at a time. */
const PIECE_BYTES = 1 << 22
/** The maximum number of shards that are opened at a time. */
const CONCURRENCY = 8

/**
 * If an engine lacks Symbol.asyncDispose, compilers' `await using` helpers fall back to this registered symbol.
 *
 * @type {typeof Symbol.asyncDispose}
 */
const asyncDisposeSymbol = /** @type {any} */ (Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose'))

export class SafetensorsFile {
  /** @type {Map<string, Placed>} */
  #entries
  /** @type {Source[] | undefined} */
  #sources
  #halves
  /** @type {readonly string[]} */
  names
  /** @type {Readonly<Record<string, string>>} */
  metadata

  /**
   * @param {Contents} contents
   * @param {import('./elements.js').Halves} halves
   */
  constructor({ sources, entries, metadata }, halves) {
    this.#sources = sources
    this.#entries = new Map(joinScales(entries).map((entry) => [entry.name, entry]))
    this.#halves = halves
    this.names = Object.freeze([...this.#entries.keys()])
    this.metadata = Object.freeze(metadata)
  }

  #checkOpen() {
    if (this.#sources === undefined) {
      throw new AttentionError('DISPOSED', {
        argument: 'this',
        expected: 'an open file',
        actual: 'a closed file',
        message: 'this file has been closed; open it again, or close it later'
      })
    }
  }

  /** @param {unknown} name */
  describe(name) {
    const { dtype, shape, bytes, scales } = entryNamed(this.#entries, name, 'an entry')
    const [start, end] = scales?.bytes ?? [0, 0]
    return { type: dtype, shape: [...shape], bytes: bytes[1] - bytes[0] + end - start }
  }

  /**
   * @param {unknown} name
   * @returns {Promise<any>}
   */
  async tensor(name) {
    this.#checkOpen()
    return readEntry(entryNamed(this.#entries, name, 'an entry'), this.#halves)
  }

  /**
   * @param {unknown} [options]
   * @returns {Promise<any>}
   */
  async stateDict(options) {
    this.#checkOpen()
    const selection = { ...readSelection(options, ['prefix', 'filter', 'unsupported']), halves: this.#halves }
    const entries = [...this.#entries.values()]
    const wanted = select(entries, selection)
    /** @type {Map<Entry, import('./elements.js').StateEntry>} */
    const tensors = new Map()
    for (const run of runsOf(wanted)) await readRun(run, selection.halves, tensors)
    return toState(
      wanted.map((entry) => /** @type {const} */ ([entry, /** @type {any} */ (tensors.get(entry))])),
      selection,
      entries
    )
  }

  async close() {
    const sources = this.#sources ?? []
    this.#sources = undefined
    await closeAll(sources)
  }

  [asyncDisposeSymbol]() {
    return this.close()
  }
}

/** @param {readonly Source[]} sources */
export async function closeAll(sources) {
  await Promise.all(sources.map((source) => source.close()))
}

/**
 * Reads one tensor: directly into its memory, or in pieces that are converted.
 *
 * @param {Placed} entry
 * @param {import('./elements.js').Halves} halves
 */
export async function readEntry(entry, halves) {
  const { source, scales } = entry
  const [start, end] = entry.bytes
  if (scales) {
    const prepared = prepareQuantized(entry)
    await source.read(prepared.bytes, start)
    await scales.source.read(prepared.scaleBytes, scales.bytes[0])
    return checkQuantizedEntry(entry.name, prepared.tensor)
  }
  const { tensor, bytes, convert, width } = prepareTensor(entry, halves)
  if (bytes) {
    await source.read(bytes, start)
    return tensor
  }
  const buffer = new Uint8Array(Math.min(PIECE_BYTES, end - start))
  for (let at = start; at < end; at += PIECE_BYTES) {
    const piece = buffer.subarray(0, Math.min(PIECE_BYTES, end - at))
    await source.read(piece, at)
    convert(piece, (at - start) / width)
  }
  return tensor
}

/**
 * Groups entries in file order into runs of small adjacent tensors.
 *
 * @param {readonly Placed[]} entries
 */
function runsOf(entries) {
  /** @type {Placed[][]} */
  const runs = []
  /** @type {Map<Source, Placed[]>} */
  const bySource = new Map()
  for (const entry of entries) {
    const known = bySource.get(entry.source)
    if (known) known.push(entry)
    else bySource.set(entry.source, [entry])
  }
  for (const placed of bySource.values()) {
    /** @type {Placed[]} */
    let run = []
    for (const entry of placed.sort(byPlace)) {
      const isNext =
        run.length > 0 && !entry.scales && !run[0].scales && entry.bytes[0] === run[run.length - 1].bytes[1]
      if (!isNext || entry.bytes[1] - run[0].bytes[0] > RUN_BYTES) runs.push((run = []))
      run.push(entry)
    }
  }
  return runs
}

/**
 * @param {readonly Placed[]} run
 * @param {import('./elements.js').Halves} halves
 * @param {Map<Entry, import('./elements.js').StateEntry>} tensors
 */
async function readRun(run, halves, tensors) {
  if (run.length === 1) {
    tensors.set(run[0], await readEntry(run[0], halves))
    return
  }
  const [start] = run[0].bytes
  const bytes = new Uint8Array(run[run.length - 1].bytes[1] - start)
  await run[0].source.read(bytes, start)
  for (const entry of run) {
    const [from, to] = entry.bytes
    tensors.set(entry, readTensor(entry, bytes.subarray(from - start, to - start), halves))
  }
}

/**
 * Reads the header of a file, or the text of an index.
 *
 * @param {Source} source
 * @returns {Promise<{ index: Uint8Array } | import('./header.js').Header>}
 */
async function readStart(source) {
  const { size, label } = source
  const first = new Uint8Array(Math.min(FIRST_BYTES, size))
  await source.read(first, 0)
  const upTo = async (/** @type {number} */ end) => {
    if (end <= first.length) return first.subarray(0, end)
    const bytes = new Uint8Array(end)
    bytes.set(first)
    await source.read(bytes.subarray(first.length), first.length)
    return bytes
  }
  // Read as a header length, the first eight bytes of a JSON text exceed the size of any file.
  const isJson = /^\s*\{/.test(decoder('latin1').decode(first.subarray(0, LENGTH_BYTES)))
  if (isJson && source.sibling && !isHeader(first, size)) {
    if (size > MAX_HEADER_BYTES) {
      throw malformed(label, `an index of ${size} bytes, more than the limit of ${MAX_HEADER_BYTES}`)
    }
    return { index: await upTo(size) }
  }
  const end = headerEnd(first, size, label)
  return parseHeader((await upTo(end)).subarray(LENGTH_BYTES), size, label)
}

/**
 * @param {Uint8Array} first
 * @param {number} size
 */
function isHeader(first, size) {
  return first.length >= LENGTH_BYTES && new DataView(first.buffer).getBigUint64(0, true) <= size
}

/**
 * @param {Source} source
 * @returns {Promise<Contents>}
 */
async function readContents(source) {
  const start = await readStart(source)
  if ('index' in start) return readShards(source, start.index)
  return { sources: [source], entries: placed(start.entries, source), metadata: start.metadata }
}

/** @type {(entries: readonly Entry[], source: Source) => Placed[]} */
const placed = (entries, source) => entries.map((entry) => ({ ...entry, source }))

/**
 * Follows an index, `{ "metadata", "weight_map": { name: shard } }`, to the headers of all shards.
 *
 * @param {Source} source
 * @param {Uint8Array} text
 * @returns {Promise<Contents>}
 */
async function readShards(source, text) {
  const { label } = source
  const { weight_map: given, metadata } = parseObject(text, label, 'an index')
  if (!isObject(given) || isArray(given)) throw malformed(label, 'a JSON text without a weight_map')
  const map = new Map(Object.entries(given).map(([name, shard]) => [name, checkShard(label, name, shard)]))
  const shards = [...new Set(map.values())]
  /** @type {Source[]} */
  const sources = [source]
  try {
    /** @type {Map<string, Map<string, Placed>>} */
    const found = new Map()
    /** @type {Record<string, string>} */
    const merged = {}
    const open = async (/** @type {string} */ shard) => {
      const opened = await /** @type {Required<Source>} */ (source).sibling(shard)
      sources.push(opened)
      const start = await readStart({ ...opened, sibling: undefined })
      if ('index' in start) throw malformed(shard, 'an index')
      Object.assign(merged, start.metadata)
      found.set(shard, new Map(placed(start.entries, opened).map((entry) => [entry.name, entry])))
    }
    for (let at = 0; at < shards.length; at += CONCURRENCY) {
      const outcomes = await Promise.allSettled(shards.slice(at, at + CONCURRENCY).map(open))
      const failure = outcomes.find(({ status }) => status === 'rejected')
      if (failure) throw /** @type {PromiseRejectedResult} */ (failure).reason
    }
    // An index gives sizes as numbers.
    for (const [name, value] of isObject(metadata) ? Object.entries(metadata) : []) {
      merged[name] = typeof value === 'string' ? value : JSON.stringify(value)
    }
    const entries = [...map].map(([name, shard]) => {
      const entry = found.get(shard)?.get(name)
      if (entry === undefined) throw fault('FORMAT', name, `an entry of ${shard}, as stated in the index`, 'none')
      return entry
    })
    entries.sort((a, b) => (a.name < b.name ? -1 : 1))
    return { sources, entries, metadata: merged }
  } catch (error) {
    await closeAll(sources.slice(1))
    throw error
  }
}

/**
 * The name of a shard: a file in the folder of the index or below it.
 *
 * @param {string} label
 * @param {string} name
 * @param {unknown} shard
 */
function checkShard(label, name, shard) {
  if (typeof shard === 'string' && /^[^/\\:]+(\/[^/\\:]+)*$/.test(shard) && !shard.split('/').includes('..')) {
    return shard
  }
  throw malformed(label, `an index that places '${name}' in ${describe(shard)}`)
}

/**
 * Opens a source and reads all headers; the caller closes the sources.
 *
 * @param {unknown} source
 * @returns {Promise<Contents>}
 */
export async function openContents(source) {
  return openContentsOf(await openSource(source))
}

/**
 * Reads all headers of an open source, which is closed if that fails; the caller closes the sources.
 *
 * @param {Source} opened
 */
export async function openContentsOf(opened) {
  try {
    return await readContents(opened)
  } catch (error) {
    await opened.close()
    throw error
  }
}

/**
 * @param {unknown} source
 * @param {unknown} [options]
 */
export async function openSafetensors(source, options) {
  const { halves } = readSelection(options, ['halves'])
  return new SafetensorsFile(await openContents(source), halves)
}
