// The original plan's interface over the entry of browsers.
import * as attention from './browser.js'
import { createCompat } from '../compat/index.js'

export * from '../compat/tools.js'
export const {
  AsyncMultiHeadAttention,
  BatchProcessor,
  RuVectorAttention,
  WasmCrossAttention,
  WasmFlashAttention,
  WasmHyperbolicAttention,
  WasmLinearAttention,
  WasmMultiHeadAttention,
  WasmScaledDotProduct,
  WasmSelfAttention,
  get_memory_usage,
  memory_usage,
  ruVector
} = createCompat(attention)
export { ruVector as default }
