// The API of `@ruvector/attention/training`, bound to one backend: everything of the main entry, and training.

import { createApi } from '../face/api.js'
import { cosineLoss, crossEntropy, infoNce, meanSquaredError } from './losses.js'
import { createLora } from './lora.js'
import { createOptimizers } from './optimizers.js'
import { constantSchedule, cosineSchedule, linearSchedule } from './schedules.js'
import { createVjp } from './vjp.js'

/** @param {import('../runtime/backend.js').Backend} backend */
export function createTraining(backend) {
  const api = createApi(backend)
  const { vjp, evaluate } = createVjp(backend, api)
  return {
    ...api,
    vjp,
    ...createOptimizers(backend),
    ...createLora(backend, api, evaluate),
    crossEntropy,
    meanSquaredError,
    cosineLoss,
    infoNce,
    constantSchedule,
    linearSchedule,
    cosineSchedule
  }
}
