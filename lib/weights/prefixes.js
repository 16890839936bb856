// The error for a prefix without entries.

import { AttentionError } from '../checks/errors.js'
import { editDistance } from '../checks/nearest.js'

/** The maximum number of prefixes in a message. */
const MAX_LISTED = 3
/** The maximum number of characters of a prefix that are compared. */
const MAX_COMPARED = 200

/**
 * @param {string} prefix
 * @param {readonly string[]} names
 */
export function noEntryUnder(prefix, names) {
  const wanted = prefix.replace(/\.$/, '').slice(0, MAX_COMPARED)
  const found = nearestPrefixes(wanted, names)
  const listed = found.slice(0, MAX_LISTED).map((name) => `'${name}'`)
  const others = found.length > MAX_LISTED ? [...listed, '…'] : listed
  const present =
    found.length > 0
      ? `similar prefixes: ${others.join(', ')}`
      : names.length > 0
        ? 'no name has a prefix'
        : 'there are no entries'
  return new AttentionError('FORMAT', {
    argument: 'prefix',
    expected: `entries under '${wanted}'`,
    actual: present,
    message: `no entry under '${wanted}'; ${present}`
  })
}

/**
 * The prefixes of names, the likeliest first: those with the same ending as the wanted one, then those with a similar
 * spelling.
 *
 * @param {string} wanted
 * @param {readonly string[]} names
 */
function nearestPrefixes(wanted, names) {
  /** @type {Set<string>} */
  const prefixes = new Set()
  for (const name of names) {
    for (let end = name.indexOf('.'); end >= 0; end = name.indexOf('.', end + 1)) prefixes.add(name.slice(0, end))
  }
  // Prefixes may have one part more than the wanted one, in case its first part is missing.
  const most = wanted.split('.').length + 1
  const rated = [...prefixes]
    .filter((prefix) => prefix.split('.').length <= most && prefix.length < MAX_COMPARED)
    .map((prefix) => ({ prefix, distance: distanceOf(wanted, prefix) }))
  rated.sort((a, b) => a.distance - b.distance)
  return rated.map(({ prefix }) => prefix)
}

/**
 * @param {string} wanted
 * @param {string} prefix
 */
function distanceOf(wanted, prefix) {
  if (prefix.endsWith(`.${wanted}`) || wanted.endsWith(`.${prefix}`)) return 0.5
  return editDistance(wanted, prefix)
}
