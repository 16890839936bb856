// PyTorch, and PyTorch Geometric and transformers if installed, in a separate Python process: `python3`, or the program
// named by the environment variable PYTHON. It times itself, because a message to another process takes longer than a
// small call.

import { fileURLToPath } from 'node:url'
import { Conversation } from '../process.js'

/** @typedef {import('../types.d.ts').Found} Found */

const geometric = 'PyTorch Geometric'
const transformers = 'transformers'
const dtypes = /** @type {Record<string, string>} */ ({ Float32Array: 'f32', Uint8Array: 'u8', Int32Array: 'i32' })

/** @returns {Promise<Found>} */
export async function pytorch() {
  const script = fileURLToPath(new URL('pytorch.py', import.meta.url))
  const conversation = new Conversation(process.env.PYTHON || 'python3', [script])
  const versions = JSON.parse(await conversation.line())

  /** @param {object} message @param {readonly Uint8Array[]} [parts] */
  async function ask(message, parts = []) {
    conversation.send(`${JSON.stringify(message)}\n`)
    for (const part of parts) conversation.send(part)
    const answer = JSON.parse(await conversation.line())
    if (answer.error) throw new Error(answer.error)
    return answer
  }

  /** @type {import('../types.d.ts').Contender['prepare']} */
  async function prepare(problem, { q, k, v, mask, x, state, edges, gates, gradient }) {
    const parameters = Object.entries(state).map(([name, tensor]) => [`state.${name}`, tensor])
    const ends = Object.entries(edges ?? {}).map(([name, data]) => [name, { data, shape: [data.length] }])
    const hasHeads = ['attention', 'attention-gradients', 'recurrent'].includes(problem.kind)
    const own = hasHeads ? { q, k, v, ...gates, ...(mask && { mask }) } : { x }
    const inputs = { ...own, ...(gradient && { gradient }) }
    /** @type {[string, { data: Float32Array | Uint8Array | Int32Array, shape: readonly number[] }][]} */
    const tensors = Object.entries({ ...inputs, ...Object.fromEntries([...parameters, ...ends]) })
    const descriptions = tensors.map(([name, { data, shape }]) => [
      name,
      { dtype: dtypes[data.constructor.name], shape, bytes: data.byteLength }
    ])
    const { bytes } = await ask(
      { case: problem, tensors: Object.fromEntries(descriptions) },
      tensors.map(([, { data }]) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    )
    const output = new Float32Array(new Uint8Array(await conversation.bytes(bytes)).buffer)
    return { time: async (count) => (await ask({ count })).seconds, output: async () => output }
  }

  /** @param {string} name @param {readonly import('../types.d.ts').Kind[]} kinds */
  const contender = (name, kinds) => ({
    name,
    family: name,
    side: /** @type {const} */ ('peer'),
    version: versions[name],
    warmsUp: false,
    threaded: true,
    kinds,
    prepare
  })
  const torch = {
    ...contender('PyTorch', ['attention', 'layer', 'encoder', 'attention-gradients']),
    close: () => conversation.close()
  }
  const others = [contender(geometric, ['graph', 'graph-gradients']), contender(transformers, ['recurrent'])]
  return { contenders: [torch, ...others.filter(({ version }) => version)] }
}
