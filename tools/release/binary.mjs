// Reads the headers of an addon: its machine, its C library with the version, and whether it has symbols.

/**
 * @typedef {object} Binary
 * @property {'linux' | 'darwin' | 'win32'} system
 * @property {string} machine  x64 or arm64, or else the number in the header
 * @property {string[]} libraries  required libraries; on Linux only
 * @property {string[]} glibc  required versions of glibc, in ascending order; on Linux only
 * @property {boolean} hasSymbols  true if it has a symbol table for debuggers; on Linux only
 */

const ELF_MACHINES = /** @type {Record<number, string>} */ ({ 62: 'x64', 183: 'arm64' })
const MACH_MACHINES = /** @type {Record<number, string>} */ ({ 0x01000007: 'x64', 0x0100000c: 'arm64' })
const PE_MACHINES = /** @type {Record<number, string>} */ ({ 0x8664: 'x64', 0xaa64: 'arm64' })

const nothing = { libraries: [], glibc: [], hasSymbols: false }

/**
 * @param {Buffer} bytes
 * @returns {Binary | undefined} undefined if the format is unknown
 */
export function readBinary(bytes) {
  const magic = bytes.length < 64 ? 0 : bytes.readUInt32BE(0)
  if (magic === 0x7f454c46 && bytes[4] === 2 && bytes[5] === 1) return readElf(bytes)
  if (magic === 0xcffaedfe)
    return { system: 'darwin', machine: named(MACH_MACHINES, bytes.readUInt32LE(4)), ...nothing }
  if (magic >>> 16 === 0x4d5a) {
    const header = bytes.readUInt32LE(0x3c)
    return { system: 'win32', machine: named(PE_MACHINES, bytes.readUInt16LE(header + 4)), ...nothing }
  }
  return undefined
}

/**
 * @param {Record<number, string>} names
 * @param {number} number
 */
const named = (names, number) => names[number] ?? `machine ${number}`

const SYMTAB = 2
const DYNAMIC = 6
const VERNEED = 0x6ffffffe

/**
 * @param {Buffer} bytes
 * @returns {Binary}
 */
function readElf(bytes) {
  const sections = elfSections(bytes)
  const find = (/** @type {number} */ type) => sections.find((section) => section.type === type)
  const [needs, dynamic] = [find(VERNEED), find(DYNAMIC)]
  const versions = needs ? neededVersions(bytes, needs.offset, sections[needs.link].offset) : []
  return {
    system: 'linux',
    machine: named(ELF_MACHINES, bytes.readUInt16LE(18)),
    libraries: dynamic ? neededLibraries(bytes, dynamic, sections[dynamic.link].offset) : [],
    glibc: [...new Set(versions.flatMap((name) => name.match(/^GLIBC_(\d[\d.]*)$/)?.[1] ?? []))].sort(compareVersions),
    hasSymbols: find(SYMTAB) !== undefined
  }
}

/** @typedef {{ type: number, offset: number, size: number, link: number }} Section */

/**
 * @param {Buffer} bytes
 * @returns {Section[]}
 */
function elfSections(bytes) {
  const start = Number(bytes.readBigUInt64LE(40))
  const [size, count] = [bytes.readUInt16LE(58), bytes.readUInt16LE(60)]
  return Array.from({ length: count }, (_, index) => {
    const at = start + index * size
    return {
      type: bytes.readUInt32LE(at + 4),
      offset: Number(bytes.readBigUInt64LE(at + 24)),
      size: Number(bytes.readBigUInt64LE(at + 32)),
      link: bytes.readUInt32LE(at + 40)
    }
  })
}

/**
 * @param {Buffer} bytes
 * @param {number} at
 */
const textAt = (bytes, at) => bytes.toString('latin1', at, bytes.indexOf(0, at))

/**
 * Returns the names of versions from a linked list of libraries, each with a linked list of versions.
 *
 * @param {Buffer} bytes
 * @param {number} start
 * @param {number} names
 */
function neededVersions(bytes, start, names) {
  const found = []
  for (let library = start, more = true; more;) {
    const [first, next] = [bytes.readUInt32LE(library + 8), bytes.readUInt32LE(library + 12)]
    for (let version = library + first, step = 1; step; version += step) {
      found.push(textAt(bytes, names + bytes.readUInt32LE(version + 8)))
      step = bytes.readUInt32LE(version + 12)
    }
    library += next
    more = next !== 0
  }
  return found
}

/**
 * @param {Buffer} bytes
 * @param {Section} dynamic
 * @param {number} names
 */
function neededLibraries(bytes, dynamic, names) {
  const found = []
  for (let at = dynamic.offset; at < dynamic.offset + dynamic.size; at += 16) {
    if (bytes.readBigUInt64LE(at) === 1n) found.push(textAt(bytes, names + Number(bytes.readBigUInt64LE(at + 8))))
  }
  return found
}

/**
 * Orders versions such as 2.9 and 2.28 numerically.
 *
 * @param {string} a
 * @param {string} b
 */
export const compareVersions = (a, b) => a.localeCompare(b, 'en', { numeric: true })
