// Values that the ES modules and the CommonJS build of one installed package share where a process loads both.

/** Folder of the package: lib/commonjs.cjs lies beside this file. */
const location = (import.meta.url ?? '').replace(/[^/]*\/[^/]*$/, '')
const key = Symbol.for(`@ruvector/attention in ${location}`)

/** @returns {Record<string, any>} */
function registry() {
  const global = /** @type {any} */ (globalThis)
  // A frozen global object has no room; the two builds then live side by side.
  if (!global[key] && Object.isExtensible(global)) Object.defineProperty(global, key, { value: Object.create(null) })
  return global[key] ?? {}
}

/**
 * The value of this name, made by whichever build asks first.
 *
 * @template T
 * @param {string} name
 * @param {() => T} make
 * @returns {T}
 */
export function shared(name, make) {
  return (registry()[name] ??= make())
}
