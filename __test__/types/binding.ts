// Both generated modules offer exactly what lib/ calls, as lib/binding.d.ts says it, and no method depends on the backend.
import type * as native from '../../crates/attention-node/binding.d.ts'
import type { Binding } from '../../lib/binding.d.ts'
import type { instantiate } from '../../packages/wasm/attention.js'

type Native = typeof native
type Wasm = ReturnType<typeof instantiate>
type Fits<Generated extends Binding> = Generated

export type Both = Fits<Native> | Fits<Wasm>

// And neither has more, but for what instances have of themselves: their memory, and the start that has already run.
type Extra = Exclude<keyof Native | keyof Wasm, keyof Binding | 'memory' | 'start'>
export const nothing: [Extra] extends [never] ? true : false = true
