// Integers and boolean masks in every accepted form: plain lists, array-like objects, arrays of 64-bit integers,
// booleans.
import test from 'ava'
import { onBothBackends } from '../support/backends.js'
import { bits, faultOf, normal } from '../support/tensors.js'

/** Forms of a list of integers. @type {((list: number[]) => any)[]} */
const integers = [
  (list) => list,
  (list) => list.map(BigInt),
  (list) => BigInt64Array.from(list.map(BigInt)),
  (list) => Int16Array.from(list),
  (list) => ({ ...list, length: list.length })
]

/** Forms of the flags of a mask. @type {((list: number[]) => any)[]} */
const flags = [...integers, (list) => list.map(Boolean), (list) => Int32Array.from(list)]

onBothBackends((kind, attention) => {
  const { Graph, meanPool, rotaryEmbedding, scaledDotProductAttention } = attention
  const x = normal([2, 3, 4], 1)
  const attend = (/** @type {any} */ options) => bits(scaledDotProductAttention(x, x, x, options).output)

  test(`${kind}: lists of integers mean the same as an Int32Array`, (t) => {
    for (const form of integers) {
      t.deepEqual(attend({ kvLengths: form([1, 3]) }), attend({ kvLengths: Int32Array.of(1, 3) }))
      const offsets = { causal: true, queryOffset: form([-1, 1]) }
      t.deepEqual(attend(offsets), attend({ causal: true, queryOffset: Int32Array.of(-1, 1) }))
      const positions = bits(rotaryEmbedding(x, { positions: Int32Array.of(4, 1, 7) }))
      t.deepEqual(bits(rotaryEmbedding(x, { positions: form([4, 1, 7]) })), positions)
      t.deepEqual(bits(meanPool(x, { lengths: form([2, 0]) })), bits(meanPool(x, { lengths: Int32Array.of(2, 0) })))
      const graph = Graph.fromEdges({ numNodes: 3, source: form([0, 1, 2]), target: form([1, 1, 0]) })
      t.deepEqual([...graph.inDegrees()], [1, 2, 0])
      graph.dispose()
    }
  })

  test(`${kind}: lists of 0 and 1, or of booleans, mean the same as a boolean mask`, (t) => {
    const list = [1, 1, 0, 0, 1, 1]
    const expected = attend({ mask: { data: Uint8Array.from(list), shape: [2, 1, 3] } })
    for (const form of flags) t.deepEqual(attend({ mask: { data: form(list), shape: [2, 1, 3] } }), expected)
  })

  test(`${kind}: a mask of padding [B, S] is rejected, and the error tells how padding is given`, (t) => {
    const refused = (/** @type {number[]} */ shape) =>
      faultOf(t, () => attend({ mask: { data: new Uint8Array(shape[0] * shape[1]), shape } }))
    t.like(refused([2, 3]), { code: 'SHAPE', argument: 'mask' })
    t.regex(`${refused([2, 3]).expected}`, /padding is kvLengths, or a mask of shape \[B, 1, 1, S\]$/)
    t.notRegex(`${refused([2, 2]).expected}`, /kvLengths/)
  })

  test(`${kind}: a list with any other value is rejected with its index`, (t) => {
    const refused = (/** @type {any} */ options) => faultOf(t, () => attend(options))
    const mask = (/** @type {any} */ data) => refused({ mask: { data, shape: [3] } })
    t.like(mask([1, 0, -Infinity]), { code: 'OPTION', argument: 'mask', actual: '-Infinity at index 2' })
    t.like(mask(BigInt64Array.of(1n, 2n, 0n)), { code: 'OPTION', argument: 'mask', actual: 'the bigint 2n at index 1' })
    t.like(mask([true, false]), { code: 'SHAPE', argument: 'mask', actual: '2' })
    t.like(refused({ kvLengths: [1, 2n ** 40n] }), { code: 'OPTION', argument: 'kvLengths[1]' })
    t.like(refused({ kvLengths: [1, undefined] }), { code: 'DTYPE', argument: 'kvLengths[1]' })
    t.like(refused({ kvLengths: [1] }), { code: 'SHAPE', argument: 'kvLengths' })
  })
})
