// The WebAssembly modules whose bytes are in the package's JavaScript, deflated and in base 64.

import { relaxed, simd } from '../packages/wasm/attention.inline.js'
import { only, openWasm, variants } from './wasm.js'

/** @param {string} text */
async function inflate(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0))
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate-raw'))
  return new Response(stream).arrayBuffer()
}

/** A backend over the better variant that this engine runs. */
export function openInlined() {
  return only(
    'the inlined module',
    'WebAssembly with SIMD is needed: see the list of engines in the README.',
    async () => openWasm(await WebAssembly.compile(await inflate(variants()[0] === 'relaxed' ? relaxed : simd)))
  )
}
