// Runs the native backend at the instruction set named by `RUVECTOR_ATTENTION_SIMD`. Writes the name of the instruction
// set, then one line of JSON per line read: the output of a case, or the seconds for a number of calls.

import { createInterface } from 'node:readline'
import { makeInputs } from '../inputs.js'
import { nativeContender } from '../ours.js'
import { outputOf, time } from '../timing.js'

const { name, version, prepare } = await nativeContender()
const answer = (/** @type {object} */ message) => console.log(JSON.stringify(message))
answer({ name, version })

/** @type {import('../types.d.ts').Prepared | undefined} */
let prepared
for await (const line of createInterface(process.stdin)) {
  const { problem, count } = JSON.parse(line)
  if (problem) {
    await prepared?.dispose?.()
    prepared = /** @type {import('../types.d.ts').Prepared} */ (await prepare(problem, makeInputs(problem)))
    const output = /** @type {Float32Array} */ (await outputOf(prepared))
    answer({ output: Buffer.from(output.buffer, output.byteOffset, output.byteLength).toString('base64') })
  } else if (prepared) {
    answer({ seconds: await time(prepared, count) })
  }
}
