// What the two sides of a worker have in common: the form of a call's header, how an object is made from its recipe, and its end.

/** The length of a header. */
export const HEADER = 64

/** Where the numbers of the objects begin in it. */
export const FIRST_OBJECT = 5

/**
 * @param {import('../binding.d.ts').Binding} binding
 * @param {import('../resident.js').Recipe} recipe
 */
export function makeObject(binding, { kind, config, integers, entries, data }) {
  const id = binding.create(kind, config, integers[0], integers[1])
  try {
    if (data.length > 0) binding.loadState(id, entries, data, '')
  } catch (error) {
    freeQuietly(binding, id)
    throw error
  }
  return id
}

/**
 * Frees an object, unless its instance trapped and refuses.
 *
 * @param {Pick<import('../binding.d.ts').Binding, 'free'>} binding
 * @param {number} id
 */
export function freeQuietly(binding, id) {
  try {
    binding.free(id)
  } catch {
    // Such an instance goes as a whole.
  }
}
