// The peers of the package, in the order of the tables. Each missing peer is reported with the reason.

import { installCommand } from '../building.js'
import { jaxjs } from './jaxjs.js'
import { onnxruntimeOnTexts, onnxruntimeWebOnTexts, transformersJs } from './minilm.js'
import { onnxruntimeNode, onnxruntimeWeb } from './onnxruntime.js'
import { plain } from './plain.js'
import { pytorch } from './pytorch.js'
import { ruvector2 } from './ruvector2.js'
import { tfjs } from './tfjs.js'

/** @typedef {import('../types.d.ts').Found} Found */

/** @type {Record<string, () => Promise<Found>>} */
const peers = {
  'onnxruntime-node': onnxruntimeNode,
  'onnxruntime-node on texts': onnxruntimeOnTexts,
  '@huggingface/transformers': transformersJs,
  PyTorch: pytorch,
  'onnxruntime-web': onnxruntimeWeb,
  'onnxruntime-web on texts': onnxruntimeWebOnTexts,
  'tfjs-backend-wasm': tfjs,
  'jax-js wasm': jaxjs,
  '@ruvector/attention 2.2': ruvector2,
  'plain JavaScript': plain
}

/** @returns {Promise<Found[]>} */
export async function findPeers() {
  const found = []
  for (const [absent, find] of Object.entries(peers)) {
    try {
      found.push(await find())
    } catch (error) {
      const { code, message } = /** @type {NodeJS.ErrnoException} */ (error)
      const isMissing = code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND'
      found.push({ absent, reason: isMissing ? installCommand : message.split('\n')[0] })
    }
  }
  return found
}
