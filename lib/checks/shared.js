// Values that the ES modules and the CommonJS build of one installed package share, in case a process loads both.

/** The package's folder; the files of lib/cjs/ are as deep in it as this one. */
const location = (import.meta.url ?? '').replace(/(?:[^/]*\/){2}[^/]*$/, '')
const key = Symbol.for(`@ruvector/attention in ${location}`)

/** @returns {Record<string, any>} */
function registry() {
  const global = /** @type {any} */ (globalThis)
  // If the global object is frozen, the two builds do not share values.
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
