// The worker program: holds an instance of the module and its objects, and runs one call at a time. The build bundles
// it with its imports into one source text (packages/wasm/attention.worker.js).

import { instantiate } from '../../../packages/wasm/attention.js'
import { CallMemory } from '../call-memory.js'
import { freeQuietly, makeObject } from './worker-calls.js'

/** @typedef {ReturnType<typeof instantiate>} Instance */

/** @type {any} */
const scope = globalThis
// Node's workers have a separate port; elsewhere the global scope is the port.
const port = scope.postMessage
  ? scope
  : /** @type {any} */ (scope.process.getBuiltinModule('node:worker_threads').parentPort)

/** @type {Instance} */
let instance
/** @type {CallMemory} */
let memory
/** Ids of the objects, by their keys. @type {Map<string, number>} */
const objects = new Map()

scope.reportAttentionProgress = (/** @type {number} */ progress) => port.postMessage({ progress })

/** @param {any} message */
function receive({ module, forget, call }) {
  if (module) {
    instance = instantiate(module)
    memory = new CallMemory(instance)
    port.postMessage({ ready: true })
  } else if (forget) {
    freeQuietly(instance, /** @type {number} */ (objects.get(forget)))
    objects.delete(forget)
  } else {
    answer(call)
  }
}

/** @param {any} call */
function answer(call) {
  try {
    instance.resetPeak()
    const results = run(call)
    const [, , , needed] = instance.memoryUsage()
    const buffers = results.flatMap((result) => (result === undefined ? [] : [result.data.buffer]))
    port.postMessage({ results, needed }, buffers)
  } catch (error) {
    const lacks = call.make.flatMap((/** @type {{ key: string }} */ { key }) => (objects.has(key) ? [] : [key]))
    port.postMessage({ error: error instanceof Error ? error.message : String(error), lacks })
  }
}

/** @param {any} call */
function run({ operation, bytes, options, arrays, objects: keys, make, part, parts, reports }) {
  for (const recipe of make) objects.set(recipe.key, makeObject(instance, memory, recipe))
  instance.setReports(reports)
  return memory.runCopy(
    bytes,
    (views) => {
      views.setPart(part, parts)
      keys.forEach((/** @type {string} */ key, /** @type {number} */ index) => {
        views.setObject(index, /** @type {number} */ (objects.get(key)))
      })
    },
    operation,
    options,
    arrays
  )
}

if (port === scope) scope.addEventListener('message', (/** @type {MessageEvent} */ { data }) => receive(data))
else port.on('message', receive)
