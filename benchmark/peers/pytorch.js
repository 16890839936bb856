// PyTorch in a Python process of its own: `python3`, or what the environment variable PYTHON names. It times itself, since a
// message to another process takes longer than a small call.

import { fileURLToPath } from 'node:url'
import { Conversation } from '../process.js'

/** @typedef {import('../types.d.ts').Found} Found */

/** @returns {Promise<Found>} */
export async function pytorch() {
  const script = fileURLToPath(new URL('pytorch.py', import.meta.url))
  const conversation = new Conversation(process.env.PYTHON || 'python3', [script])
  const { version } = JSON.parse(await conversation.line())

  /** @param {object} message @param {readonly Uint8Array[]} [parts] */
  async function ask(message, parts = []) {
    conversation.send(`${JSON.stringify(message)}\n`)
    for (const part of parts) conversation.send(part)
    const answer = JSON.parse(await conversation.line())
    if (answer.error) throw new Error(answer.error)
    return answer
  }

  return {
    contenders: [
      {
        name: 'PyTorch',
        family: 'PyTorch',
        side: 'peer',
        version,
        warmsUp: false,
        threaded: true,
        async prepare(problem, { q, k, v, mask, x, state }) {
          const parameters = Object.entries(state).map(([name, tensor]) => [`state.${name}`, tensor])
          const tensors = Object.entries(
            problem.kind === 'attention' ? { q, k, v, ...(mask && { mask }) } : { x, ...Object.fromEntries(parameters) }
          )
          const descriptions = tensors.map(([name, { data, shape }]) => [
            name,
            { dtype: data instanceof Uint8Array ? 'u8' : 'f32', shape, bytes: data.byteLength }
          ])
          const { bytes } = await ask(
            { case: problem, tensors: Object.fromEntries(descriptions) },
            tensors.map(([, { data }]) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
          )
          const output = new Float32Array(new Uint8Array(await conversation.bytes(bytes)).buffer)
          return { time: async (count) => (await ask({ count })).seconds, output: async () => output }
        },
        close: () => conversation.close()
      }
    ]
  }
}
