// Runs one contender, which the argument names, for the process that started this one. Writes one line of JSON about
// the contender, then one per line read: what came of preparing a case, or the seconds for a number of calls.
//
// - `native`: the native backend at the instruction set that `RUVECTOR_ATTENTION_SIMD` names.
// - `wasm`: the best variant of the WebAssembly module that this engine supports.
// - `onnxruntime-web`: whole models only.

import { createInterface } from 'node:readline'
import { makeInputs } from '../inputs.js'
import { nativeContender, wasmContenders } from '../ours.js'
import { onnxruntimeWebOnTexts } from '../peers/minilm.js'
import { outputOf, time } from '../timing.js'

/** @type {Record<string, () => Promise<import('../types.d.ts').Contender>>} */
const contenders = {
  native: nativeContender,
  wasm: wasmContenders[wasmContenders.length - 1],
  'onnxruntime-web': async () => (await onnxruntimeWebOnTexts()).contenders[0]
}

const { prepare, ...about } = await contenders[process.argv[2]]()
const answer = (/** @type {object} */ message) => console.log(JSON.stringify(message))
answer(about)

/** @type {import('../types.d.ts').Prepared | undefined} */
let prepared

/** @param {import('../types.d.ts').Case} problem @returns {Promise<import('../remote.js').Outcome>} */
async function prepareCase(problem) {
  await prepared?.dispose?.()
  prepared = undefined
  const found = await prepare(problem, makeInputs(problem))
  if (typeof found === 'string') return { skipped: found }
  prepared = found
  const output = await outputOf(prepared)
  return output ? { output: Buffer.from(output.buffer, output.byteOffset, output.byteLength).toString('base64') } : {}
}

for await (const line of createInterface(process.stdin)) {
  const { problem, count } = JSON.parse(line)
  if (problem) answer(await prepareCase(problem))
  else if (prepared) answer({ seconds: await time(prepared, count) })
}
