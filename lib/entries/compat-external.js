// The original plan's interface over the entry that fetches the module as a file.
import * as attention from './external.js'
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
