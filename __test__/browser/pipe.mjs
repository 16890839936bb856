// Drives Chromium with the plain DevTools protocol over a pipe. Playwright listens to each page's network, which makes
// the page keep the bodies of all responses in memory.

import { spawn } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BROWSER_ARGS, findBrowser } from '../../tools/programs.mjs'

/** @typedef {(method: string, params?: object, sessionId?: string) => Promise<any>} Send */

/**
 * Starts the browser; `send` makes a call of the protocol.
 *
 * @returns {{ send: Send, close: () => Promise<void> }}
 */
export function startBrowser() {
  const program = findBrowser()
  if (!program) throw new Error('no Chromium or Chrome was found: install one, or name it in CHROME_PATH')
  const profile = mkdtempSync(join(tmpdir(), 'ruvector-attention-'))
  const args = ['--headless=new', '--remote-debugging-pipe', `--user-data-dir=${profile}`, ...BROWSER_ARGS]
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] })
  const [, , , input, output] = /** @type {any[]} */ (child.stdio)
  const ended = new Promise((resolve) => child.once('exit', resolve))
  /** @type {Map<number, { resolve: (result: any) => void, reject: (error: Error) => void }>} */
  const waiting = new Map()
  let [number, rest] = [0, '']
  child.once('exit', () => {
    for (const { reject } of waiting.values()) reject(new Error('the browser has ended'))
  })
  output.setEncoding('utf8').on('data', (/** @type {string} */ text) => {
    const messages = (rest + text).split('\0')
    rest = /** @type {string} */ (messages.pop())
    for (const message of messages) {
      const { id, result, error } = JSON.parse(message)
      if (error) waiting.get(id)?.reject(new Error(error.message))
      else waiting.get(id)?.resolve(result)
      waiting.delete(id)
    }
  })
  return {
    send: (method, params = {}, sessionId = undefined) =>
      new Promise((resolve, reject) => {
        waiting.set(++number, { resolve, reject })
        input.write(`${JSON.stringify({ id: number, method, params, sessionId })}\0`)
      }),
    async close() {
      await this.send('Browser.close')
      await ended
      // The browser's other processes end a little later.
      await rm(profile, { recursive: true, force: true, maxRetries: 20 })
    }
  }
}

/**
 * Opens a page and waits until it has loaded.
 *
 * @param {Send} send
 * @param {string} address
 */
export async function openPage(send, address) {
  const { targetId } = await send('Target.createTarget', { url: address })
  const { sessionId } = await send('Target.attachToTarget', { targetId, flatten: true })
  /** Evaluates an expression, and waits for it if it is a promise. @param {string} expression */
  const evaluate = async (expression) => {
    const { result, exceptionDetails } = await send(
      'Runtime.evaluate',
      { expression, awaitPromise: true, returnByValue: true },
      sessionId
    )
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text)
    return result.value
  }
  // Before the page exists, expressions run on an empty one, or are interrupted.
  const isLoaded = `location.href === ${JSON.stringify(address)} && document.readyState === 'complete'`
  while (!(await evaluate(isLoaded).catch(() => false))) await new Promise((resolve) => setTimeout(resolve, 10))
  return {
    evaluate,
    /** Picks files for the element of a selector. @param {string} selector @param {readonly string[]} files */
    async pick(selector, files) {
      const { root } = await send('DOM.getDocument', {}, sessionId)
      const { nodeId } = await send('DOM.querySelector', { nodeId: root.nodeId, selector }, sessionId)
      await send('DOM.setFileInputFiles', { nodeId, files }, sessionId)
    },
    close: () => send('Target.closeTarget', { targetId })
  }
}
