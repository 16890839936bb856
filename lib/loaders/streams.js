// Joins the streams into which crates/xtask/src/streams.rs separates a module, so that it deflates to a fifth less:
// bytes of one kind resemble each other. That file describes the format.

const [SUB_OPCODES, SIMD_OPCODES, STREAMS] = [256, 512, 1022]

// Places in the memory of tools/join.wat.
const [POSITIONS, ROOM] = [4096, 8192]

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
 * @param {WebAssembly.Module} joiner  compiled from tools/join.wat
 * @returns {Uint8Array<ArrayBuffer>} the module
 */
export function joinStreams(streams, joiner) {
  let from = 0
  const number = () => {
    let value = 0
    for (let shift = 0, byte = 0x80; byte & 0x80; shift += 7) value |= ((byte = streams[from++]) & 0x7f) << shift
    return value
  }
  const [size, functions, head, tail] = [number(), number(), number(), number()]
  const lengths = Int32Array.from({ length: STREAMS }, number)
  const start = ROOM + streams.length
  const memory = new WebAssembly.Memory({ initial: Math.ceil((start + size) / 0x10000) + 1 })
  const bytes = new Uint8Array(memory.buffer)
  for (const [first, last, kind] of IMMEDIATES) bytes.fill(kind, first, last + 1)
  bytes.set(streams, ROOM)
  const behindHead = ROOM + from + head
  const positions = new Int32Array(memory.buffer, POSITIONS, STREAMS)
  lengths.reduce((position, length, stream) => (positions[stream] = position) + length, behindHead + tail)
  bytes.copyWithin(start, behindHead - head, behindHead)
  const { exports } = new WebAssembly.Instance(joiner, { m: { m: memory } })
  const end = /** @type {Function} */ (exports.j)(start + head, functions)
  bytes.copyWithin(end, behindHead, behindHead + tail)
  return bytes.slice(start, start + size)
}
