// Turns the plain module into the one for relaxed SIMD, so that the package holds one module and a small patch.
// crates/xtask/src/patch.rs creates patches and describes their format.

const MAGIC = [0, 0x72, 0x61, 0x70]

/** @param {string} reason @param {ErrorOptions} [options] */
const unfit = (reason, options) =>
  new Error(`${reason}: module and patch must be complete and from the same version of the package`, options)

/**
 * @param {Uint8Array} module
 * @param {Uint8Array} patch
 * @returns {Uint8Array<ArrayBuffer>} the module for relaxed SIMD
 */
export function applyPatch(module, patch) {
  if (MAGIC.some((byte, index) => patch[index] !== byte)) throw unfit('the patch has an unknown format')
  const reader = new Reader(patch, MAGIC.length)
  const length = reader.number()
  if (length !== module.length) {
    throw unfit(`the module has ${module.length} bytes, and the patch is for one of ${length}`)
  }
  try {
    return patched(module, reader)
  } catch (error) {
    // Counts of a damaged patch lead outside the arrays.
    throw error instanceof RangeError ? unfit('the patch is damaged', { cause: error }) : error
  }
}

/** Reads the bytes of a patch in order. */
class Reader {
  /**
   * @param {Uint8Array} bytes
   * @param {number} at
   */
  constructor(bytes, at) {
    this.bytes = bytes
    this.at = at
  }

  /** @param {number} length */
  take(length) {
    const taken = this.bytes.subarray(this.at, (this.at += length))
    if (taken.length !== length) throw unfit('the patch is cut short')
    return taken
  }

  /** Reads a number in LEB128. */
  number() {
    let value = 0
    for (let shift = 0, byte = 0x80; byte & 0x80; shift += 7) {
      if (this.at >= this.bytes.length) throw unfit('the patch is cut short')
      byte = this.bytes[this.at++]
      value |= (byte & 0x7f) << shift
    }
    return value
  }
}

/**
 * @param {Uint8Array} module
 * @param {Reader} reader  behind the length of the module
 */
function patched(module, reader) {
  const size = reader.number()
  const [a, b, c, d] = reader.take(4)
  const sum = a | (b << 8) | (c << 16) | (d << 24)
  const runs = reader.number()
  const [inserted, shifts, copied] = [0, 0, 0].map(() => Int32Array.from({ length: runs }, () => reader.number()))
  // Whole words, for the checksum.
  const words = new Int32Array(Math.ceil(size / 4))
  const result = new Uint8Array(words.buffer, 0, size)
  let [source, position] = [0, 0]
  for (let run = 0; run < runs; run++) {
    result.set(reader.take(inserted[run]), position)
    position += inserted[run]
    source += inserted[run] + ((shifts[run] >>> 1) ^ -(shifts[run] & 1))
    result.set(module.subarray(source, source + copied[run]), position)
    source += copied[run]
    position += copied[run]
  }
  if (position !== size || checksum(words) !== sum) throw unfit('the patch is damaged, or for another module')
  return result
}

/** @param {Int32Array} words */
function checksum(words) {
  let sum = 0
  for (let index = 0; index < words.length; index++) {
    sum = Math.imul(((sum << 5) | (sum >>> 27)) ^ words[index], 0x9e3779b1)
  }
  return sum
}
