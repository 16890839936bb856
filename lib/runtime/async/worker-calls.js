// Shared by both sides of a worker: the layout of a call's header, and how objects are created and freed.

/** The length of a header. */
export const HEADER = 64

/** Index of the first object id in the header. */
export const FIRST_OBJECT = 5

/**
 * @param {import('../binding.d.ts').Binding} binding
 * @param {import('../resident.js').Recipe} recipe
 */
export function makeObject(binding, { kind, config, integers, entries, data }) {
  const id = binding.create(kind, config, integers[0], integers[1])
  try {
    if (data.length > 0) binding.loadState(id, entries, data, '', true)
  } catch (error) {
    freeQuietly(binding, id)
    throw error
  }
  return id
}

/**
 * Frees an object; ignores errors from an instance that trapped.
 *
 * @param {Pick<import('../binding.d.ts').Binding, 'free'>} binding
 * @param {number} id
 */
export function freeQuietly(binding, id) {
  try {
    binding.free(id)
  } catch {
    // The whole instance is about to be discarded.
  }
}
