// Encodes an ONNX model as protocol-buffer messages, with the field numbers of onnx.proto.

/** @typedef {import('../../index.js').Tensor} Tensor */
/**
 * @typedef {{ op: string, domain?: string, inputs: string[], output: string, attributes?: Record<string, number> }}
 *   Node
 */

const FLOAT = 1
const BOOL = 9

const utf8 = new TextEncoder()

/** @param {number} value  not negative */
function varint(value) {
  const bytes = []
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...bytes, rest]
    bytes.push((rest % 128) | 128)
  }
}

/** @param {number} field @param {number} value */
const integer = (field, value) => Buffer.from([...varint(field * 8), ...varint(value)])

/** @param {number} field @param {number} value */
function float(field, value) {
  const bytes = Buffer.from([...varint(field * 8 + 5), 0, 0, 0, 0])
  bytes.writeFloatLE(value, bytes.length - 4)
  return bytes
}

/**
 * @param {number} field
 * @param {string | Uint8Array | Uint8Array[]} content  text, bytes, or the fields of a message
 */
function block(field, content) {
  const bytes =
    typeof content === 'string' ? utf8.encode(content) : Array.isArray(content) ? Buffer.concat(content) : content
  return Buffer.concat([Buffer.from([...varint(field * 8 + 2), ...varint(bytes.length)]), bytes])
}

/** @param {string} name @param {number} value  integers become integer attributes */
const attribute = (name, value) =>
  Number.isInteger(value)
    ? [block(1, name), integer(3, value), integer(20, 2)]
    : [block(1, name), float(2, value), integer(20, 1)]

/** @param {Node} node */
const nodeFields = ({ op, domain = '', inputs, output, attributes = {} }) => [
  ...inputs.map((name) => block(1, name)),
  block(2, output),
  block(4, op),
  ...Object.entries(attributes).map(([name, value]) => block(5, attribute(name, value))),
  block(7, domain)
]

/** @param {string} name @param {readonly number[]} shape @param {number} type */
const valueFields = (name, shape, type) => [
  block(1, name),
  block(2, [
    block(1, [
      integer(1, type),
      block(
        2,
        shape.map((size) => block(1, [integer(1, size)]))
      )
    ])
  ])
]

/** @param {string} name @param {Tensor} tensor */
const constantFields = (name, { data, shape }) => [
  ...shape.map((size) => integer(1, size)),
  integer(2, FLOAT),
  block(8, name),
  block(9, new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
]

/**
 * @param {{
 *   nodes: Node[],
 *   inputs: Record<string, { data: object, shape: readonly number[] }>,
 *   output: { name: string, shape: readonly number[] },
 *   constants?: Record<string, Tensor>
 * }} model
 */
export function onnxModel({ nodes, inputs, output, constants = {} }) {
  const graph = [
    ...nodes.map((node) => block(1, nodeFields(node))),
    block(2, 'attention'),
    ...Object.entries(constants).map(([name, tensor]) => block(5, constantFields(name, tensor))),
    ...Object.entries(inputs).map(([name, { data, shape }]) =>
      block(11, valueFields(name, shape, data instanceof Uint8Array ? BOOL : FLOAT))
    ),
    block(12, valueFields(output.name, output.shape, FLOAT))
  ]
  const imports = Object.entries({ '': 23, 'com.microsoft': 1 })
  return Buffer.concat([
    integer(1, 10),
    block(7, graph),
    ...imports.map(([domain, version]) => block(8, [block(1, domain), integer(2, version)]))
  ])
}
