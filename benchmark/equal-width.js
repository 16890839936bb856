// The native backend with vectors of 128 bits, as in WebAssembly, as a contender. It runs in a separate process,
// because the instruction set is fixed per process.

import { remoteContender } from './remote.js'

/** @typedef {import('./types.d.ts').Found} Found */

/** The native backend at instruction sets of 128 bits. */
export const EQUAL_WIDTH = ['native sse2', 'native neon']

/** @returns {Promise<Found>} */
export async function equalWidth() {
  const contender = await remoteContender({ which: 'native', env: { RUVECTOR_ATTENTION_SIMD: 'sse2' } })
  const { name } = contender
  if (name !== 'native sse2') {
    await contender.close?.()
    return { absent: 'native sse2', reason: `this machine runs ${name}` }
  }
  return { contenders: [{ ...contender, family: name.replace('native ', '') }] }
}
