// The native backend at a lower instruction set, which holds for a whole process: `RUVECTOR_ATTENTION_SIMD` names it. Answers each
// line of JSON with one: the name of the contender first, then a case's output, or the seconds of so many calls.

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
