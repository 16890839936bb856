// Suggestions for misspelled names.

/**
 * The candidate with the smallest edit distance to a name; ties go to the earliest, as in the kernel crate.
 *
 * @param {string} name
 * @param {readonly string[]} candidates
 */
export function nearest(name, candidates) {
  const distances = candidates.map((candidate) => distanceOf(name, candidate))
  return candidates[distances.indexOf(Math.min(...distances))]
}

/**
 * The nearest candidate that may be what somebody meant: within a third of the name's length.
 *
 * @param {string} name
 * @param {readonly string[]} candidates
 */
export function suggestion(name, candidates) {
  const found = nearest(name, candidates)
  return distanceOf(name, found) <= name.length / 3 ? found : undefined
}

/**
 * How far apart two names are, apart from case and separators.
 *
 * @param {string} a
 * @param {string} b
 */
function distanceOf(a, b) {
  const fold = (/** @type {string} */ text) => text.replaceAll(/[-_]/g, '').slice(0, 64).toLowerCase()
  return editDistance(fold(a), fold(b))
}

/**
 * Levenshtein distance: the number of insertions, deletions and substitutions that turn `a` into `b`.
 *
 * @param {string} a
 * @param {string} b
 */
export function editDistance(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1]
    for (let j = 0; j < b.length; j++)
      next.push(Math.min(row[j] + (a[i] === b[j] ? 0 : 1), row[j + 1] + 1, next[j] + 1))
    row = next
  }
  return row[b.length]
}
