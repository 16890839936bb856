// Attention modules and blocks of 36 families of models: their weights, under the names of their checkpoints, must give
// their outputs.
import test from 'ava'
import { onBothBackends } from '../support/backends.js'
import { cases, relativeError, runModule, toleranceOf } from '../support/families.js'

/** Options whose mechanisms exist. */
const KNOWN = new Set(
  'activation epsilon feedForwardDim kDim modelDim normFirst numHeads useBias headDim kvHeads'.split(' ')
)
const available = cases.filter(({ layer, config, options = {} }) => {
  const { causal: _, ...others } = options
  const isKnown = Object.keys({ ...config, ...others }).every((name) => KNOWN.has(name))
  const isSpecial = layer.includes('Decoder') || layer.startsWith('Latent') || layer.startsWith('Gated')
  const { activation = 'relu', useBias = true } = config
  const isEncoder = layer === 'TransformerEncoderLayer'
  const isPlain = !isEncoder || (['relu', 'gelu'].includes(activation) && useBias === true && !options.causal)
  return isKnown && !isSpecial && isPlain && typeof useBias === 'boolean'
})

onBothBackends((kind, attention) => {
  for (const module of available) {
    test(`${kind}: ${module.name} is a ${module.layer}`, (t) => {
      const { output } = module.tensors
      const actual = runModule(attention, module)
      t.deepEqual(actual.shape, output.shape)
      const error = relativeError(actual, output)
      t.true(error <= toleranceOf(module), `${error}`)
    })
  }
})
