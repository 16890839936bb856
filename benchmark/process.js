// A child process that answers requests one at a time: a line, followed by bytes if both sides know their number.

import { spawn } from 'node:child_process'

export class Conversation {
  /** @type {Buffer} */
  #received = Buffer.alloc(0)
  /** @type {(() => void) | undefined} */
  #wake
  /** @type {Error | undefined} */
  #end
  #errors = ''

  /**
   * @param {string} command
   * @param {readonly string[]} args
   * @param {NodeJS.ProcessEnv} [env]
   */
  constructor(command, args, env = process.env) {
    this.child = spawn(command, args, { stdio: 'pipe', env })
    this.child.stdout.on('data', (bytes) => {
      this.#received = Buffer.concat([this.#received, bytes])
      this.#wake?.()
    })
    this.child.stderr.setEncoding('utf8').on('data', (text) => (this.#errors += text))
    // Write errors are ignored: the exit of the process reports the reason.
    this.child.stdin.on('error', () => {})
    this.child.on('error', (error) => this.#ended(error))
    this.child.on('close', () => {
      const reason = this.#errors.trim().split('\n').at(-1) || 'it ended without an answer'
      this.#ended(new Error(`${command}: ${reason}`))
    })
  }

  /** @param {Error} error */
  #ended(error) {
    this.#end ??= error
    this.#wake?.()
  }

  /** @param {string | Uint8Array} message */
  send(message) {
    this.child.stdin.write(message)
  }

  /** @returns {Promise<string>} */
  async line() {
    for (;;) {
      const end = this.#received.indexOf('\n')
      if (end >= 0)
        return this.#take(end + 1)
          .toString('utf8')
          .trimEnd()
      await this.#more()
    }
  }

  /** @param {number} length */
  async bytes(length) {
    while (this.#received.length < length) await this.#more()
    return this.#take(length)
  }

  /** Ends the process and waits for its exit. */
  async close() {
    this.child.stdin.end()
    if (!this.#end) await new Promise((resolve) => (this.#wake = () => this.#end && resolve(undefined)))
  }

  /** @param {number} length */
  #take(length) {
    const taken = this.#received.subarray(0, length)
    this.#received = this.#received.subarray(length)
    return taken
  }

  async #more() {
    if (this.#end) throw this.#end
    await new Promise((resolve) => (this.#wake = () => resolve(undefined)))
    this.#wake = undefined
  }
}
