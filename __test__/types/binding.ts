// Checks that both generated modules have exactly the interface of lib/runtime/binding.d.ts, independent of the
// backend.
import type * as native from '../../crates/attention-node/binding.d.ts'
import type { Binding } from '../../lib/runtime/binding.d.ts'
import type { instantiate } from '../../packages/wasm/attention.js'

type Native = typeof native
type Wasm = ReturnType<typeof instantiate>
type Fits<Generated extends Binding> = Generated

export type Both = Fits<Native> | Fits<Wasm>

// They have no other members, except an instance's memory and its start function, which has already run.
type Extra = Exclude<keyof Native | keyof Wasm, keyof Binding | 'memory' | 'start'>
export const nothing: [Extra] extends [never] ? true : false = true
