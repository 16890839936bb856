// The same six layers in ONNX Runtime, if the benchmark's packages are installed (`npm run bench -- --peers` installs
// them).
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { loadSafetensors, TransformerEncoderLayer } from '@ruvector/attention'
import { encoderLayerGraph, joined } from '../../benchmark/peers/onnx-layers.js'
import { onnxModel } from '../../benchmark/peers/onnx-model.js'
import { modelFolder } from '../../tools/model.mjs'

/** @typedef {import('@ruvector/attention').Tensor} Tensor */

const LAYERS = 6
const SIZE = 384

/**
 * @param {Tensor} x  embedded tokens `[B, L, 384]`
 * @param {number} threads
 * @returns {Promise<{ run: () => Promise<unknown>, dispose: () => Promise<void> } | string>} or the reason why it is
 * unavailable
 */
export async function layersInOnnxRuntime(x, threads) {
  /** @type {any} */
  let ort
  try {
    ort = createRequire(new URL('../../benchmark/package.json', import.meta.url))('onnxruntime-node')
  } catch {
    return 'not installed in benchmark/'
  }
  const file = readFileSync(join(modelFolder, 'model.safetensors'))
  const graphs = Array.from({ length: LAYERS }, (_, index) => {
    const layer = new TransformerEncoderLayer({ modelDim: SIZE, numHeads: 12, feedForwardDim: 4 * SIZE })
    layer.loadStateDict(loadSafetensors(file, { prefix: `encoder.layer.${index}` }))
    const state = Object.fromEntries(
      Object.entries(layer.stateDict()).map(([name, tensor]) => [`${index}.${name}`, tensor])
    )
    layer.dispose()
    const [from, to] = [index === 0 ? 'x' : `y${index - 1}`, `y${index}`]
    return encoderLayerGraph(state, `${index}.`, { heads: 12, isFused: true, epsilon: 1e-12 }, from, to)
  })
  const output = { name: `y${LAYERS - 1}`, shape: x.shape }
  const session = await ort.InferenceSession.create(onnxModel({ ...joined(graphs), inputs: { x }, output }), {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    logSeverityLevel: 3
  })
  const feeds = { x: new ort.Tensor('float32', x.data, x.shape) }
  return { run: () => session.run(feeds), dispose: () => session.release() }
}
