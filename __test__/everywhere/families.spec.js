// Attention modules and blocks of families of models: their weights, under the names of their checkpoints, must give
// their outputs.
import test from 'ava'
import { onBothBackends } from '../support/backends.js'
import { cases, relativeError, runModule, toleranceOf } from '../support/families.js'

onBothBackends((kind, attention) => {
  for (const module of cases) {
    test(`${kind}: ${module.name} is a ${module.layer}`, (t) => {
      const { output } = module.tensors
      const actual = runModule(attention, module)
      t.deepEqual(actual.shape, output.shape)
      const error = relativeError(actual, output)
      t.true(error <= toleranceOf(module), `${error}`)
    })
  }
})
