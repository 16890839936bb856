// The native backend with vectors of 128 bits, as in WebAssembly, as a contender. It runs in a separate process,
// because the instruction set is fixed per process.

import { fileURLToPath } from 'node:url'
import { Conversation } from './process.js'

/** @typedef {import('./types.d.ts').Found} Found */

/** The native backend at instruction sets of 128 bits. */
export const EQUAL_WIDTH = ['native sse2', 'native neon']

/** @returns {Promise<Found>} */
export async function equalWidth() {
  const script = fileURLToPath(new URL('children/level.js', import.meta.url))
  const env = { ...process.env, RUVECTOR_ATTENTION_SIMD: 'sse2' }
  const conversation = new Conversation(process.execPath, [script], env)
  const { name, version } = JSON.parse(await conversation.line())
  if (name !== 'native sse2') {
    await conversation.close()
    return { absent: 'native sse2', reason: `this machine runs ${name}` }
  }

  /** @param {object} message */
  async function ask(message) {
    conversation.send(`${JSON.stringify(message)}\n`)
    return JSON.parse(await conversation.line())
  }

  return {
    contenders: [
      {
        name,
        family: name.replace('native ', ''),
        side: 'ours',
        version,
        warmsUp: false,
        threaded: true,
        async prepare(problem) {
          const { output } = await ask({ problem })
          const data = new Float32Array(new Uint8Array(Buffer.from(output, 'base64')).buffer)
          return { time: async (count) => (await ask({ count })).seconds, output: async () => data }
        },
        close: () => conversation.close()
      }
    ]
  }
}
