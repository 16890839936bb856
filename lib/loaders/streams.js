// Joins the streams into which crates/xtask/src/streams.rs separates a module, so that it deflates to a fifth less:
// bytes of one kind resemble each other. That file describes the format.

const [SUB_OPCODES, SIMD_OPCODES, OFFSETS, LOCALS, STREAMS] = [256, 512, 1020, 1021, 1022]

/**
 * The immediates of each opcode: the number of LEB128 numbers, plus four times the number of bytes. Ranges of opcodes
 * with their first, their last and the immediates; opcodes in none of them have no immediates.
 */
const IMMEDIATES = [
  [0x02, 0x04, 1], // block, loop, if
  [0x0c, 0x0e, 1], // br, br_if, and the number of labels of br_table
  [0x10, 0x10, 1], // call
  [0x11, 0x11, 2], // call_indirect
  [0x20, 0x26, 1], // variables and tables
  [0x28, 0x3e, 2], // loads and stores
  [0x3f, 0x42, 1], // memory.size, memory.grow, i32.const, i64.const
  [0x43, 0x43, 16], // f32.const
  [0x44, 0x44, 32], // f64.const
  [0xd0, 0xd0, 1], // ref.null
  [0xd2, 0xd2, 1], // ref.func
  [SUB_OPCODES + 9, SUB_OPCODES + 17, 1], // memory.fill, table.grow, table.size
  [SUB_OPCODES + 10, SUB_OPCODES + 10, 2], // memory.copy
  [SIMD_OPCODES, SIMD_OPCODES + 11, 2], // loads and stores
  [SIMD_OPCODES + 12, SIMD_OPCODES + 13, 64], // v128.const, i8x16.shuffle
  [SIMD_OPCODES + 21, SIMD_OPCODES + 34, 4], // lanes
  [SIMD_OPCODES + 84, SIMD_OPCODES + 91, 6], // loads and stores of lanes
  [SIMD_OPCODES + 92, SIMD_OPCODES + 93, 2] // loads with zeros
]

/**
 * @param {Uint8Array} streams
 * @returns {Uint8Array<ArrayBuffer>} the module
 */
export function joinStreams(streams) {
  const immediates = new Uint8Array(STREAMS)
  for (const [first, last, kind] of IMMEDIATES) immediates.fill(kind, first, last + 1)
  const positions = new Int32Array(STREAMS + 1)
  let [from, to] = [0, 0]
  const header = () => {
    let value = 0
    for (let shift = 0, byte = 0x80; byte & 0x80; shift += 7) value |= ((byte = streams[from++]) & 0x7f) << shift
    return value
  }
  const module = new Uint8Array(header())
  const [functions, head, tail] = [header(), header(), header()]
  const lengths = Int32Array.from({ length: STREAMS }, header)
  const copyRun = (/** @type {number} */ length) => {
    module.set(streams.subarray(from, (from += length)), to)
    to += length
  }
  copyRun(head)
  const end = from + tail
  lengths.reduce((position, length, stream) => (positions[stream] = position) + length, end)

  /** Copies bytes of a stream. @param {number} stream @param {number} count */
  const copyBytes = (stream, count) => {
    while (count-- > 0) module[to++] = streams[positions[stream]++]
  }
  /** Copies a number of a stream, and returns it. @param {number} stream */
  const copyNumber = (stream) => {
    let [value, shift, byte] = [0, 0, 0]
    do {
      byte = module[to++] = streams[positions[stream]++]
      value |= (byte & 0x7f) << shift
      shift += 7
    } while (byte & 0x80)
    return value
  }
  /** Copies an instruction, and returns by how much it changes the depth of blocks. */
  const copyInstruction = () => {
    const code = (module[to++] = streams[positions[0]++])
    let opcode = code
    if (code === 0xfc) opcode = SUB_OPCODES + copyNumber(0)
    else if (code === 0xfd) opcode = SIMD_OPCODES + copyNumber(0)
    const kind = immediates[opcode]
    if (kind & 3) {
      const first = copyNumber(opcode)
      if (kind & 2) copyNumber(OFFSETS)
      if (code === 0x0e) for (let label = 0; label <= first; label++) copyNumber(code)
    }
    copyBytes(opcode, kind >> 2)
    return code === 0x0b ? -1 : Number(code >= 0x02 && code <= 0x04)
  }
  for (let index = 0; index < functions; index++) {
    const start = to
    // Room for the length, which is known afterwards.
    to += 5
    for (let groups = copyNumber(LOCALS); groups > 0; groups--) {
      copyNumber(LOCALS)
      copyBytes(LOCALS, 1)
    }
    for (let depth = 1; depth > 0;) depth += copyInstruction()
    let at = start
    let length = to - start - 5
    const body = start + 5
    do {
      module[at++] = (length & 0x7f) | (length > 0x7f ? 0x80 : 0)
      length >>= 7
    } while (length > 0)
    module.copyWithin(at, body, to)
    to -= body - at
  }
  from = end - tail
  copyRun(tail)
  return module
}
