// The display of objects in Node's console.
import { inspect } from 'node:util'
import test from 'ava'
import { onBothBackends } from '../support/backends.js'

onBothBackends((kind, attention) => {
  const { FlashAttention, Graph, GraphConvolution, HyperbolicAttention, KVCache, LinearAttention } = attention

  test(`${kind}: objects show their settings, their contents and their backend`, (t) => {
    const layer = new attention.SelfAttention({ numHeads: 2, headDim: 4 })
    const shown = inspect(layer)
    for (const part of [
      /^SelfAttention \{/,
      /numHeads: 2/,
      /modelDim: 8/,
      /numParameters: 288/,
      `backend: '${kind}'`
    ]) {
      t.regex(shown, new RegExp(part))
    }
    t.regex(inspect({ layer }, { depth: 3 }), /layer: SelfAttention \{/)
    t.regex(
      inspect(new GraphConvolution({ inFeatures: 2, outFeatures: 3 })),
      /^GraphConvolution \{[^]*numParameters: 9/
    )
    const cache = new KVCache({ kvHeads: 1, headDim: 2, capacity: 8 })
    const row = { data: new Float32Array(2), shape: [1, 1, 1, 2] }
    t.regex(inspect(cache.append(row, row)), /^KVCache \{[^]*capacity: 8[^]*length: 1/)
    t.regex(inspect(new LinearAttention({ modelDim: 8 })), /^LinearAttention \{[^]*modelDim: 8/)
    t.regex(inspect(new HyperbolicAttention({ curvature: -1 })), /^HyperbolicAttention \{[^]*curvature: -1/)
    t.is(inspect(new FlashAttention(8)), 'FlashAttention { headDim: 8, blockSize: 64 }')
    const graph = Graph.fromEdges({ numNodes: 3, source: Int32Array.of(0), target: Int32Array.of(1) })
    t.is(inspect(graph), `Graph { numNodes: 3, numEdges: 1, numSelfLoops: 0, backend: '${kind}' }`)
  })

  test(`${kind}: disposed objects are shown as disposed, and subclasses with their own name`, (t) => {
    class Encoder extends attention.TransformerEncoderLayer {}
    const objects = {
      Encoder: new Encoder({ modelDim: 4, numHeads: 2, feedForwardDim: 8 }),
      KVCache: new KVCache({ kvHeads: 1, headDim: 2, capacity: 8 }),
      LinearAttention: new LinearAttention({ modelDim: 8 }),
      HyperbolicAttention: new HyperbolicAttention({ curvature: -1 })
    }
    for (const [name, object] of Object.entries(objects)) {
      t.true(inspect(object).startsWith(`${name} {`))
      object.dispose()
      t.is(inspect(object), `${name} (disposed)`)
    }
    t.notThrows(() => inspect(attention.Layer.prototype))
  })
})
