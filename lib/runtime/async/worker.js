// The worker program: holds an instance of the module and its objects, and runs one call at a time. The build bundles
// it with its imports into one source text (packages/wasm/attention.worker.js).

import { instantiate } from '../../../packages/wasm/attention.js'
import { FIRST_OBJECT, HEADER, freeQuietly, makeObject } from './worker-calls.js'

/** @typedef {ReturnType<typeof instantiate>} Instance */

/** @type {any} */
const scope = globalThis
// Node's workers have a separate port; elsewhere the global scope is the port.
const port = scope.postMessage
  ? scope
  : /** @type {any} */ (scope.process.getBuiltinModule('node:worker_threads').parentPort)

/** @type {Instance} */
let instance
/** Ids of the objects, by their keys. @type {Map<string, number>} */
const objects = new Map()

scope.reportAttentionProgress = (/** @type {number} */ progress) => port.postMessage({ progress })

/** @param {any} message */
function receive({ module, forget, call }) {
  if (module) {
    instance = instantiate(module)
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
    const { outputs, indices } = run(call)
    const [, , , needed] = instance.memoryUsage()
    const arrays = [...outputs, indices].filter((array) => array !== undefined)
    port.postMessage(
      { outputs, indices, needed },
      arrays.map((array) => array.buffer)
    )
  } catch (error) {
    const lacks = call.make.flatMap((/** @type {{ key: string }} */ { key }) => (objects.has(key) ? [] : [key]))
    port.postMessage({ error: error instanceof Error ? error.message : String(error), lacks })
  }
}

/** @param {any} call */
function run({ operation, header, options, objects: keys, make, reports, inputs, bytes, integers, lengths, indices }) {
  for (const recipe of make) objects.set(recipe.key, makeObject(instance, recipe))
  const full = new Float64Array(HEADER)
  full.set(header)
  keys.forEach((/** @type {string} */ key, /** @type {number} */ index) => {
    full[FIRST_OBJECT + index] = /** @type {number} */ (objects.get(key))
  })
  const outputs = lengths.map((/** @type {number | undefined} */ length) =>
    length === undefined ? undefined : new Float32Array(length)
  )
  const found = indices === undefined ? undefined : new Int32Array(indices)
  instance.setReports(reports)
  // prettier-ignore
  instance.call(operation, full, options, inputs[0], inputs[1], inputs[2], inputs[3], bytes, integers[0], integers[1], outputs[0], outputs[1], outputs[2], outputs[3], found)
  return { outputs, indices: found }
}

if (port === scope) scope.addEventListener('message', (/** @type {MessageEvent} */ { data }) => receive(data))
else port.on('message', receive)
