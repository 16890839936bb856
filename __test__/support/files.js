// Weights files for the specs: a large model without data, and a server of a folder.

import { open, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { rangesOf } from '../../tools/ranges.mjs'

const [MODEL, INNER] = [768, 3072]

/** A layer of BERT base: 28 MB. @type {Record<string, number[]>} */
const LAYER = {
  'attention.self.query.weight': [MODEL, MODEL],
  'attention.self.query.bias': [MODEL],
  'attention.self.key.weight': [MODEL, MODEL],
  'attention.self.key.bias': [MODEL],
  'attention.self.value.weight': [MODEL, MODEL],
  'attention.self.value.bias': [MODEL],
  'attention.output.dense.weight': [MODEL, MODEL],
  'attention.output.dense.bias': [MODEL],
  'attention.output.LayerNorm.weight': [MODEL],
  'attention.output.LayerNorm.bias': [MODEL],
  'intermediate.dense.weight': [INNER, MODEL],
  'intermediate.dense.bias': [INNER],
  'output.dense.weight': [MODEL, INNER],
  'output.dense.bias': [MODEL],
  'output.LayerNorm.weight': [MODEL],
  'output.LayerNorm.bias': [MODEL]
}

/** 3 GB. */
const LAYERS = 108

/**
 * Writes a model of 3 GB with an index. It is all zeros, except that the first element of each layer is the layer's
 * number. The files are sparse and take no space on disk.
 *
 * @param {string} folder
 * @param {number} [shards]  a divisor of the number of layers
 */
export async function writeSparseModel(folder, shards = 4) {
  const each = LAYERS / shards
  /** @type {string[]} */
  const paths = []
  /** @type {Record<string, string>} */
  const map = {}
  for (let shard = 0; shard < shards; shard++) {
    const name = `model-${shard + 1}-of-${shards}.safetensors`
    /** @type {Record<string, unknown>} */
    const header = {}
    /** @type {[offset: number, value: number][]} */
    const firsts = []
    let end = 0
    for (let layer = shard * each; layer < (shard + 1) * each; layer++) {
      firsts.push([end, layer])
      for (const [suffix, shape] of Object.entries(LAYER)) {
        const start = end
        end += 4 * shape.reduce((product, dim) => product * dim, 1)
        header[`encoder.layer.${layer}.${suffix}`] = { dtype: 'F32', shape, data_offsets: [start, end] }
        map[`encoder.layer.${layer}.${suffix}`] = name
      }
    }
    const text = Buffer.from(JSON.stringify(header))
    const length = Buffer.alloc(8)
    length.writeBigUInt64LE(BigInt(text.length))
    paths.push(join(folder, name))
    const file = await open(join(folder, name), 'w')
    await file.write(Buffer.concat([length, text]))
    await file.truncate(8 + text.length + end)
    for (const [offset, value] of firsts)
      await file.write(Buffer.from(Float32Array.of(value).buffer), 0, 4, 8 + text.length + offset)
    await file.close()
  }
  const path = join(folder, shards === 4 ? 'model.safetensors.index.json' : `${shards}.index.json`)
  await writeFile(path, JSON.stringify({ metadata: { total_size: 0 }, weight_map: map }))
  return { path, shards: paths, layers: LAYERS }
}

/**
 * Serves a folder; returns its address.
 *
 * @param {import('ava').ExecutionContext} t
 * @param {string} folder
 */
export async function serveFiles(t, folder) {
  const server = createServer(rangesOf(folder)).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  t.teardown(() => server.close())
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  return `http://127.0.0.1:${port}/`
}
