// Contenders that run in processes of their own: at another instruction set, or in another version of Node.

import { fileURLToPath } from 'node:url'
import { Conversation } from './process.js'

/**
 * The result of preparing a case: its output in base64, or the reason that it cannot run.
 *
 * @typedef {{ output?: string, skipped?: string }} Outcome
 */

/**
 * Starts a contender of `children/contender.js`, which `which` names.
 *
 * @param {{ which: string, program?: string, env?: NodeJS.ProcessEnv }} options  `program` is the Node to use
 * @returns {Promise<import('./types.d.ts').Contender>}
 */
export async function remoteContender({ which, program = process.execPath, env }) {
  const script = fileURLToPath(new URL('children/contender.js', import.meta.url))
  const conversation = new Conversation(program, [script, which], { ...process.env, ...env })

  /** @param {object} message */
  async function ask(message) {
    conversation.send(`${JSON.stringify(message)}\n`)
    return JSON.parse(await conversation.line())
  }

  return {
    ...JSON.parse(await conversation.line()),
    async prepare(problem) {
      const { output, skipped } = /** @type {Outcome} */ (await ask({ problem }))
      if (skipped !== undefined) return skipped
      const time = async (/** @type {number} */ count) => (await ask({ count })).seconds
      if (output === undefined) return { time }
      const data = new Float32Array(new Uint8Array(Buffer.from(output, 'base64')).buffer)
      return { time, output: async () => data }
    },
    close: () => conversation.close()
  }
}
