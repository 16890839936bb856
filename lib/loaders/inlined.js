// A WebAssembly module and its patch contained in the package's JavaScript: separated into streams, deflated, and
// encoded as base64.

import { compiling, inflating } from './engine.js'
import { join } from './join.js'
import { applyPatch } from './patch.js'
import { joinStreams } from './streams.js'
import { only, openWasm, variants } from './wasm.js'

/** @param {string} text  in base64 */
function decode(text) {
  const { fromBase64 } = /** @type {{ fromBase64?: (text: string) => Uint8Array<ArrayBuffer> }} */ (Uint8Array)
  if (fromBase64) return fromBase64.call(Uint8Array, text)
  // Much faster than Uint8Array.from with a function.
  const characters = atob(text)
  const bytes = new Uint8Array(characters.length)
  for (let index = 0; index < bytes.length; index++) bytes[index] = characters.charCodeAt(index)
  return bytes
}

/** @param {string} text */
async function inflate(text) {
  const bytes = decode(text)
  // Node's zlib also works in emulated DOMs, which replace Blob and lack DecompressionStream.
  const zlib = globalThis.process?.getBuiltinModule?.('node:zlib')
  if (zlib) return zlib.inflateRawSync(bytes)
  const stream = inflating(() => new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate-raw')))
  return new Uint8Array(await new Response(stream).arrayBuffer())
}

/** @typedef {{ simd: string, patch: string }} Inlined */

/**
 * Returns the bytes of one variant.
 *
 * @param {Inlined} inlined
 * @param {import('./wasm.js').Variant} variant
 */
export async function readInlined({ simd, patch }, variant) {
  const [joiner, streams, change] = await Promise.all([
    compiling(() => WebAssembly.compile(decode(join))),
    inflate(simd),
    variant === 'relaxed' ? inflate(patch) : undefined
  ])
  const module = joinStreams(streams, joiner)
  return change ? applyPatch(module, change) : module
}

/**
 * Compiles the fastest variant that this engine supports.
 *
 * @param {Inlined} inlined
 */
export async function compileInlined(inlined) {
  const bytes = await readInlined(inlined, variants()[0])
  return compiling(() => WebAssembly.compile(bytes))
}

/** Edge runtimes, such as that of Next, state their name in a global variable. */
const isEdgeRuntime = () => typeof (/** @type {{ EdgeRuntime?: unknown }} */ (globalThis).EdgeRuntime) === 'string'

const OUTSIDE_EDGE =
  "Use the runtime 'nodejs' for this route, or give init({ wasm }) a WebAssembly.Module that the build compiled."

/**
 * Creates a backend from an inlined module.
 *
 * @param {Inlined} inlined
 */
export function openInlined(inlined) {
  const csp = "Under a content security policy, its script-src needs 'wasm-unsafe-eval'."
  return only('the inlined module', isEdgeRuntime() ? OUTSIDE_EDGE : csp, async () => {
    try {
      return openWasm(await compileInlined(inlined))
    } catch (cause) {
      if (!isEdgeRuntime()) throw cause
      throw new Error("the Edge runtime compiles WebAssembly only while an app is built, not from a script's bytes", {
        cause
      })
    }
  })
}
