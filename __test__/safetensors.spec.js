// Weights files: reading, writing, and that no file, however truncated or forged, does more than throw.
import test from 'ava'
import fc from 'fast-check'
import { onBothBackends } from './support/backends.js'
import { bits, close, faultOf, normal } from './support/tensors.js'

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

onBothBackends((kind, { loadSafetensors, saveSafetensors, softmax }) => {
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
    'a header that is no object': file('[1,2]', floats(1, 2)),
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
    'data cut short': file(one, floats(1)),
    'a tensor of integers': file({ w: entry('I64', [1], 0, 8) }, floats(1, 2)),
    'a tensor of doubles': file({ w: entry('F64', [1], 0, 8) }, floats(1, 2)),
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
