// The loader of `/training` in Node, Deno and Bun: the same addon, and its own module.

import { createLoader } from './loader.js'

// Literals, so that bundlers copy the files.
export const trainingLoader = createLoader({
  name: 'attention.training',
  wasm: () => new URL('../../packages/wasm/attention.training.simd.wasm', import.meta.url),
  patch: () => new URL('../../packages/wasm/attention.training.relaxed.patch', import.meta.url),
  inlined: () => import('../../packages/wasm/attention.training.inline.js')
})
