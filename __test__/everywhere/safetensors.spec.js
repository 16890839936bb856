// Weights files: reading and writing them; a truncated or forged file only throws.
import test from 'ava'
import fc from 'fast-check'
import { onBothBackends } from '../support/backends.js'
import { bits, close, faultOf, normal } from '../support/tensors.js'

/**
 * A file with this header, an object or a text, followed by these bytes.
 *
 * @param {unknown} header
 * @param {Uint8Array | ArrayBuffer} [data]
 * @param {bigint} [length]  stated length of the header, if wrong
 */
function file(header, data = new Uint8Array(0), length) {
  const text = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header))
  const bytes = new Uint8Array(8 + text.length + data.byteLength)
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(text.length), true)
  bytes.set(text, 8)
  bytes.set(new Uint8Array(data), 8 + text.length)
  return bytes
}

/** @type {(dtype: string, shape: readonly number[], from: number, to: number) => object} */
const entry = (dtype, shape, from, to) => ({ dtype, shape, data_offsets: [from, to] })
const floats = (/** @type {number[]} */ ...values) => Float32Array.from(values).buffer

onBothBackends((kind, attention) => {
  const { loadSafetensors, saveSafetensors, softmax } = attention

  test(`${kind}: saved tensors load again, bit for bit and by name`, (t) => {
    const state = {
      'b.weight': normal([2, 3], 1),
      a: { data: Float32Array.of(NaN, -0, Infinity, 1e-45), shape: [4] },
      scalar: { data: Float32Array.of(5), shape: [] },
      nothing: { data: new Float32Array(0), shape: [3, 0] },
      'ein Name – 名 "\\\n': normal([1], 2),
      ['__proto__']: normal([2], 3)
    }
    const loaded = loadSafetensors(saveSafetensors(state, { format: 'pt', 'schön "\n': 'ja' }))
    t.deepEqual(Object.keys(loaded).sort(), Object.keys(state).sort())
    for (const [name, tensor] of Object.entries(state)) {
      t.deepEqual(loaded[name].shape, tensor.shape)
      t.deepEqual(bits(loaded[name]), bits(tensor))
    }
    t.is(Object.getPrototypeOf(loaded), Object.prototype)
  })

  test(`${kind}: bytes may be any view, and loaded tensors have separate memory`, (t) => {
    const saved = saveSafetensors({ w: normal([5], 1) })
    t.true(saved instanceof Uint8Array)
    const padded = new Uint8Array(saved.length + 20)
    padded.set(saved, 13)
    const expected = loadSafetensors(saved)
    const exact = saved.slice().buffer
    for (const bytes of [padded.subarray(13, 13 + saved.length), exact]) {
      t.deepEqual(loadSafetensors(bytes), expected)
    }
    if (exact.constructor === ArrayBuffer) new Uint8Array(exact).fill(0)
    t.deepEqual(loadSafetensors(saved), expected)
  })

  test(`${kind}: a prefix selects the entries under it and is removed from their names`, (t) => {
    const [a, b, c] = [normal([1], 1), normal([2], 2), normal([3], 3)]
    const bytes = saveSafetensors({ 'layer.1.w': a, 'layer.10.w': b, 'layer.1.sub.w': c, layer: b })
    const expected = { w: a, 'sub.w': c }
    t.deepEqual(loadSafetensors(bytes, { prefix: 'layer.1' }), expected)
    t.deepEqual(loadSafetensors(bytes, { prefix: 'layer.1.' }), expected)
    t.deepEqual(loadSafetensors(bytes, { prefix: 'other' }), {})
    t.is(Object.keys(loadSafetensors(bytes, { prefix: '' })).length, 4)
  })

  test(`${kind}: F16 and BF16 are converted exactly`, (t) => {
    const halves = Uint16Array.of(0x3c00, 0xc000, 0x0001, 0x7c00, 0x8000, 0x3555)
    const { half } = loadSafetensors(file({ half: entry('F16', [2, 3], 0, 12) }, halves.buffer))
    t.deepEqual([...half.data], [1, -2, 2 ** -24, Infinity, -0, 0.333251953125])
    t.deepEqual(half.shape, [2, 3])
    const brains = Uint16Array.of(0x3f80, 0xc000, 0x0001, 0xff80, 0x3eab)
    const { brain } = loadSafetensors(file({ brain: entry('BF16', [5], 0, 10) }, brains.buffer))
    t.deepEqual([...brain.data], [1, -2, 2 ** -133, -Infinity, 0.333984375])
  })

  test(`${kind}: data that is not aligned in the file is read correctly`, (t) => {
    const header = { a: entry('F16', [1], 0, 2), b: entry('F32', [2], 2, 10) }
    const data = new Uint8Array(10)
    data.set([0, 0x3c])
    data.set(new Uint8Array(floats(1.5, -3)), 2)
    for (const padding of ['', ' ', '  ', '   ']) {
      const { b } = loadSafetensors(file(JSON.stringify(header) + padding, data))
      t.deepEqual([...b.data], [1.5, -3])
    }
  })

  const one = { w: entry('F32', [2], 0, 8) }
  for (const [title, bytes] of Object.entries({
    'nothing at all': new Uint8Array(0),
    'fewer bytes than the length of the header': new Uint8Array(7),
    'a header that is longer than the file': file(one, floats(1, 2), 1000n),
    'a header of nearly 2^64 bytes': file(one, floats(1, 2), 2n ** 64n - 1n),
    'a header of 2^63 bytes': file(one, floats(1, 2), 2n ** 63n),
    'a header without bytes': file('', floats(1, 2)),
    'a header that is no JSON': file('{"w":', floats(1, 2)),
    'a header that is not an object': file('[1,2]', floats(1, 2)),
    'a header that is not UTF-8': (() => {
      const bytes = file(one, floats(1, 2))
      bytes[10] = 0xff
      return bytes
    })(),
    'an entry without a shape': file({ w: { dtype: 'F32', data_offsets: [0, 8] } }, floats(1, 2)),
    'an entry that is a number': file({ w: 5 }, floats(1, 2)),
    'a negative dimension': file('{"w":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}', floats(1, 2)),
    'a dimension that is no integer': file('{"w":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}}', floats(1, 2)),
    'dimensions whose product overflows': file({ w: entry('F32', [2 ** 52, 2 ** 52, 4], 0, 8) }, floats(1, 2)),
    'more elements than bytes': file({ w: entry('F32', [3], 0, 8) }, floats(1, 2)),
    'fewer elements than bytes': file({ w: entry('F32', [1], 0, 8) }, floats(1, 2)),
    'offsets beyond the file': file({ w: entry('F32', [2], 8, 16) }, floats(1, 2)),
    'offsets near 2^64': file(
      '{"w":{"dtype":"F32","shape":[2],"data_offsets":[18446744073709551608,18446744073709551615]}}'
    ),
    'offsets in the wrong order': file({ w: entry('F32', [2], 8, 0) }, floats(1, 2)),
    'offsets that overlap': file({ v: entry('F32', [2], 0, 8), w: entry('F32', [2], 4, 12) }, floats(1, 2, 3)),
    'a gap between tensors': file({ v: entry('F32', [1], 0, 4), w: entry('F32', [1], 8, 12) }, floats(1, 2, 3)),
    'bytes behind the last tensor': file(one, floats(1, 2, 3)),
    'truncated data': file(one, floats(1)),
    'integers beyond 32 bits': file({ w: entry('I64', [1], 0, 8) }, floats(1, 2)),
    'a tensor of 8-bit floats': file({ w: entry('F8_E4M3', [8], 0, 8) }, floats(1, 2)),
    'complex numbers': file({ w: entry('C64', [1], 0, 8) }, floats(1, 2)),
    'a name twice': file(`{"w":${JSON.stringify(one.w)},"w":${JSON.stringify(one.w)}}`, floats(1, 2)),
    'a type twice': file(`{"w":{"dtype":"U8",${JSON.stringify(one.w).slice(1)}}`, floats(1, 2)),
    'a name with a lone surrogate': file('{"\\ud800":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', floats(1, 2)),
    'a byte order mark': file(`\ufeff${JSON.stringify(one)}`, floats(1, 2)),
    'a tensor of an unknown type': file({ w: entry('F31', [2], 0, 8) }, floats(1, 2)),
    'more dimensions than a tensor has': file({ w: entry('F32', [2, 1, 1, 1, 1, 1, 1, 1, 1], 0, 8) }, floats(1, 2)),
    'metadata that are no strings': file({ __metadata__: { a: 1 }, ...one }, floats(1, 2)),
    'a header nested deeper than any stack': file('{"w":'.repeat(100_000) + '1', floats(1, 2))
  })) {
    test(`${kind}: a file with ${title} is rejected with FORMAT, and the next one loads`, (t) => {
      const fault = faultOf(t, () => loadSafetensors(bytes))
      t.is(fault.code, 'FORMAT', fault.message)
      t.truthy(fault.expected)
      t.truthy(fault.actual)
      t.deepEqual([...loadSafetensors(file(one, floats(1, 2)))['w'].data], [1, 2])
    })
  }

  test(`${kind}: integers that fit into 32 bits come as Int32Array, bytes and booleans as Uint8Array, doubles as floats`, (t) => {
    const [least, most] = [-(2 ** 31), 2 ** 31 - 1]
    for (const [dtype, array, expected] of /** @type {[string, any, any][]} */ ([
      ['I8', Int8Array.of(-128, 0, 127), Int32Array.of(-128, 0, 127)],
      ['I16', Int16Array.of(-32768, 32767), Int32Array.of(-32768, 32767)],
      ['U16', Uint16Array.of(0, 65535), Int32Array.of(0, 65535)],
      ['I32', Int32Array.of(least, -1, most), Int32Array.of(least, -1, most)],
      ['U32', Uint32Array.of(0, most), Int32Array.of(0, most)],
      ['I64', BigInt64Array.of(BigInt(least), -1n, 0n, BigInt(most)), Int32Array.of(least, -1, 0, most)],
      ['U64', BigUint64Array.of(0n, BigInt(most)), Int32Array.of(0, most)],
      ['U8', Uint8Array.of(0, 255), Uint8Array.of(0, 255)],
      ['BOOL', Uint8Array.of(0, 1), Uint8Array.of(0, 1)],
      ['F64', Float64Array.of(0.1, -1e300, 5e-324, NaN), Float32Array.of(0.1, -Infinity, 0, NaN)]
    ])) {
      for (const padding of ['', '   ']) {
        const header = JSON.stringify({ x: entry(dtype, [array.length, 1], 0, array.byteLength) })
        const { x } = loadSafetensors(file(header + padding, array.buffer))
        t.deepEqual(/** @type {unknown} */ (x), { data: expected, shape: [array.length, 1] }, dtype)
      }
    }
  })

  for (const [dtype, array, value] of /** @type {[string, any, string][]} */ ([
    ['U32', Uint32Array.of(1, 2 ** 31), '2147483648'],
    ['I64', BigInt64Array.of(1n, 2n ** 31n), '2147483648'],
    ['I64', BigInt64Array.of(-(2n ** 31n) - 1n), '-2147483649'],
    ['I64', BigInt64Array.of(2n ** 32n), '4294967296'],
    ['U64', BigUint64Array.of(2n ** 64n - 1n), '18446744073709551615'],
    ['U64', BigUint64Array.of(2n ** 31n), '2147483648']
  ])) {
    test(`${kind}: ${value} as ${dtype} does not fit, and the error names the entry and the value`, (t) => {
      const bytes = file({ ids: entry(dtype, [array.length], 0, array.byteLength) }, array.buffer)
      t.like(
        faultOf(t, () => loadSafetensors(bytes)),
        { code: 'FORMAT', argument: 'ids', actual: value }
      )
    })
  }

  test(`${kind}: entries of unsupported types are rejected by name, skipped on request, or filtered out`, (t) => {
    const bytes = file({ scale: entry('F8_E4M3', [4], 0, 4), w: entry('F32', [1], 4, 8) }, floats(0, 5))
    t.like(
      faultOf(t, () => loadSafetensors(bytes)),
      { code: 'FORMAT', argument: 'scale', actual: 'F8_E4M3' }
    )
    const w = { data: Float32Array.of(5), shape: [1] }
    t.deepEqual(loadSafetensors(bytes, { unsupported: 'skip' }), { w })
    t.deepEqual(loadSafetensors(bytes, { filter: (name) => name !== 'scale' }), { w })
    t.is(
      faultOf(t, () => loadSafetensors(bytes, { unsupported: /** @type {any} */ ('ignore') })).argument,
      'unsupported'
    )
  })

  test(`${kind}: a filter sees the names in the file and works with a prefix`, (t) => {
    const [a, b] = [normal([1], 1), normal([2], 2)]
    const bytes = saveSafetensors({ 'x.weight': a, 'x.bias': b, 'y.weight': b })
    /** @type {string[]} */
    const seen = []
    const filter = (/** @type {string} */ name) => (seen.push(name), name.endsWith('weight'))
    t.deepEqual(loadSafetensors(bytes, { prefix: 'x', filter }), { weight: a })
    t.deepEqual(seen, ['x.bias', 'x.weight'])
    t.is(faultOf(t, () => loadSafetensors(bytes, { filter: /** @type {any} */ ('weight') })).argument, 'filter')
    const error = new Error('mine')
    t.is(
      t.throws(() =>
        loadSafetensors(bytes, {
          filter: () => {
            throw error
          }
        })
      ),
      error
    )
  })

  test(`${kind}: bytes that a filter transfers are an error`, (t) => {
    const { buffer } = saveSafetensors({ x: normal([1], 1) }).slice()
    const filter = () => (structuredClone(buffer, { transfer: [buffer] }), true)
    t.is(faultOf(t, () => loadSafetensors(new Uint8Array(buffer), { filter })).code, 'DTYPE')
  })

  test(`${kind}: 16-bit floats keep their bits, are saved again, and widen when a layer loads them`, (t) => {
    const bits = Uint16Array.of(0x3c00, 0x0001, 0x7e01, 0xfc00)
    for (const type of /** @type {const} */ (['f16', 'bf16'])) {
      const bytes = saveSafetensors({ half: { type, data: bits, shape: [2, 2] } })
      const state = loadSafetensors(bytes, { halves: 'keep' })
      t.deepEqual(state, { half: { type, data: bits, shape: [2, 2] } })
      t.deepEqual(saveSafetensors(state), bytes)
      const layer = new attention.SelfAttention({ numHeads: 1, headDim: 1, useBias: false })
      const half = (/** @type {number[]} */ ...shape) => ({ type, data: new Uint16Array(shape[0]).fill(0x3f80), shape })
      layer.loadStateDict({ in_proj_weight: half(3, 1), 'out_proj.weight': half(1, 1) })
      const value = type === 'bf16' ? 1 : 1.875
      t.deepEqual([...layer.stateDict()['in_proj_weight'].data], [value, value, value])
      layer.dispose()
    }
    const wrong = /** @type {any} */ ({ type: 'f16', data: new Float32Array(1), shape: [1] })
    t.is(faultOf(t, () => saveSafetensors({ wrong })).code, 'DTYPE')
    t.is(faultOf(t, () => loadSafetensors(file(one), { halves: /** @type {any} */ ('f16') })).argument, 'halves')
  })

  test(`${kind}: every type of entry is saved aligned and loads again`, (t) => {
    const state = {
      bytes: { data: Uint8Array.of(1, 2, 3), shape: [3] },
      halves: { type: /** @type {const} */ ('bf16'), data: Uint16Array.of(1, 2), shape: [2] },
      ids: { data: Int32Array.of(-1, 7), shape: [1, 2] },
      w: normal([3], 1)
    }
    const bytes = saveSafetensors(state)
    t.deepEqual(loadSafetensors(bytes, { halves: 'keep' }), state)
    const length = new DataView(bytes.buffer).getUint32(0, true)
    const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)))
    t.deepEqual(
      Object.entries(header).map(
        ([
          name,
          {
            dtype,
            data_offsets: [start]
          }
        ]) => [name, dtype, start]
      ),
      [
        ['ids', 'I32', 0],
        ['w', 'F32', 8],
        ['halves', 'BF16', 20],
        ['bytes', 'U8', 24]
      ]
    )
  })

  test(`${kind}: shapes are counted beyond 32 bits`, (t) => {
    // 2^32 bits, and 2^32 elements: the header is valid, and only its data is missing.
    for (const [dtype, shape, size] of /** @type {[string, number[], number][]} */ ([
      ['F32', [2 ** 27], 2 ** 29],
      ['F32', [2 ** 16, 2 ** 16], 2 ** 34],
      ['U8', [2 ** 33], 2 ** 33]
    ])) {
      const { message } = faultOf(t, () => loadSafetensors(file({ w: entry(dtype, shape, 0, size) })))
      t.regex(message, new RegExp(`the file is truncated: expected ${size + 64 > 1e10 ? '1' : ''}\\d+ bytes, got \\d+`))
    }
    t.is(faultOf(t, () => loadSafetensors(file({ w: entry('F32', [2 ** 16, 2 ** 16], 0, 0) }))).code, 'FORMAT')
  })

  const ascii = (/** @type {string} */ text) => Uint8Array.from(text, (character) => character.charCodeAt(0))
  for (const [format, start] of /** @type {[string, string][]} */ ([
    [
      'a PyTorch pickle: save it with safetensors.torch.save_file',
      'PK\x03\x04\0\0\b\b\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10\0\0\0archive/data.pkl'
    ],
    [
      'a PyTorch pickle: save it with safetensors.torch.save_file',
      '\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.'
    ],
    ['a NumPy archive', 'PK\x03\x04\0\0\b\b\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05\0\0\0x.npy'],
    ['a zip archive', 'PK\x03\x04\0\0\b\b\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05\0\0\0a.txt'],
    ['a NumPy array', '\x93NUMPY\x01\0v\0{'],
    ['a GGUF file', 'GGUF\x03\0\0\0\x10\0\0\0\0\0\0\0'],
    ['an HDF5 file', '\x89HDF\r\n\x1a\n\0\0'],
    ['a gzip archive', '\x1f\x8b\b\0\0\0\0\0\0\x03'],
    ['an ONNX model', '\b\b\x12\x07pytorch\x1a\x052.0.0'],
    ['a TensorFlow Lite model', '\x1c\0\0\0TFL3\x14\0'],
    [
      'a Git LFS pointer: fetch the file itself with git lfs pull',
      'version https://git-lfs.github.com/spec/v1\noid sha256:'
    ],
    ['an HTML page', '<!DOCTYPE html>\n<html lang="en">'],
    ['an HTML page', '\n\n<html><head><title>404</title>'],
    ['an XML document', '<?xml version="1.0" encoding="UTF-8"?><Error>'],
    [
      'the index of a sharded model: open it by its path or URL with openSafetensors',
      '{"metadata":{"total_size":9},"weight_map":{}}'
    ],
    ['a JSON text', '{ "error": "Repository not found" }'],
    ['a text that begins with "Not Foun"', 'Not Found, sorry']
  ])) {
    test(`${kind}: a file that begins with ${JSON.stringify(start.slice(0, 9))} is reported as ${format}`, (t) => {
      const error = faultOf(t, () => loadSafetensors(ascii(start)))
      t.is(error.code, 'FORMAT')
      t.true(error.message.includes(`got ${format}`), error.message)
    })
  }

  test(`${kind}: the error about a truncated file states the expected number of bytes`, (t) => {
    const bytes = saveSafetensors({ a: normal([4, 4], 1) })
    for (const length of [bytes.length - 1, 20]) {
      const { message } = faultOf(t, () => loadSafetensors(bytes.subarray(0, length)))
      t.regex(message, new RegExp(`^bytes: the file is truncated: expected \\d+ bytes, got ${length}$`))
    }
  })

  test(`${kind}: a header above the limit is rejected with the limit`, (t) => {
    const bytes = file('', undefined, 132_095_296n)
    const { message } = faultOf(t, () => loadSafetensors(bytes))
    t.true(message.endsWith('got a header of 132095296 bytes, more than the limit of 100000000'), message)
  })

  test(`${kind}: a file truncated anywhere is rejected with FORMAT`, (t) => {
    const bytes = saveSafetensors({ a: normal([2, 2], 1), b: normal([3], 2) })
    for (let length = 0; length < bytes.length; length++) {
      t.is(faultOf(t, () => loadSafetensors(bytes.subarray(0, length))).code, 'FORMAT', `${length} bytes`)
    }
  })

  test(`${kind}: a file with any bytes changed loads or is rejected with FORMAT`, (t) => {
    const bytes = saveSafetensors({ 'a.weight': normal([2, 2], 1), 'b.bias': normal([3], 2) }, { format: 'pt' })
    const changes = fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 })
    const property = fc.property(changes, (edits) => {
      const copy = bytes.slice()
      for (const [at, byte] of edits) copy[at] = byte
      try {
        for (const { data, shape } of Object.values(loadSafetensors(copy))) {
          if (data.length !== shape.reduce((a, b) => a * b, 1)) throw new Error('a tensor that is none')
        }
      } catch (error) {
        if (/** @type {any} */ (error).code !== 'FORMAT') throw error
      }
    })
    t.notThrows(() => fc.assert(property, { numRuns: 500 }))
    close(t, softmax({ data: Float32Array.of(0, 0), shape: [2] }), [0.5, 0.5])
  })

  test(`${kind}: invalid bytes, tensors and metadata are rejected before any work`, (t) => {
    const state = { w: normal([2], 1) }
    for (const [code, argument, call] of /** @type {[string, string, () => unknown][]} */ ([
      ['DTYPE', 'bytes', () => loadSafetensors(/** @type {any} */ (undefined))],
      ['DTYPE', 'bytes', () => loadSafetensors(/** @type {any} */ ('model.safetensors'))],
      ['DTYPE', 'bytes', () => loadSafetensors(/** @type {any} */ (new Float32Array(4)))],
      ['DTYPE', 'bytes', () => loadSafetensors(/** @type {any} */ ([1, 2, 3]))],
      ['OPTION', 'prefix', () => loadSafetensors(saveSafetensors(state), { prefix: /** @type {any} */ (3) })],
      ['OPTION', 'perfix', () => loadSafetensors(saveSafetensors(state), /** @type {any} */ ({ perfix: 'a' }))],
      ['DTYPE', 'state', () => saveSafetensors(/** @type {any} */ (null))],
      ['DTYPE', 'w', () => saveSafetensors({ w: /** @type {any} */ ([1, 2]) })],
      ['SHAPE', 'w', () => saveSafetensors({ w: { data: new Float32Array(2), shape: [3] } })],
      ['OPTION', 'metadata', () => saveSafetensors(state, /** @type {any} */ ('pt'))],
      ['OPTION', 'metadata.epoch', () => saveSafetensors(state, /** @type {any} */ ({ epoch: 3 }))]
    ])) {
      const fault = faultOf(t, call)
      t.is(String(fault.code), code, fault.message)
      t.is(fault.argument, argument, fault.message)
    }
    t.deepEqual(loadSafetensors(saveSafetensors(state)), state)
  })

  test(`${kind}: a tensor may not take the name that the format reserves for metadata`, (t) => {
    const fault = faultOf(t, () => saveSafetensors({ __metadata__: normal([1], 1) }))
    t.is(fault.argument, '__metadata__')
    t.is(fault.code, 'FORMAT')
  })
})
