// The original plan's interface over the entry of Node, Deno and Bun.
import * as attention from '../../index.js'
import { createCompat } from '../compat/index.js'
import { shared } from '../checks/shared.js'

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
} = shared('compat', () => createCompat(attention))
export { ruVector as default }
