// The entries of the published package, which differ from those of a clone for Node.

/**
 * The `exports` of the published package: Node imports the few files of `lib/cjs/`, which start faster. A clone imports
 * its sources, so that changes need no build. Bundlers know the condition `module`: they still choose the sources, and
 * leave out what a program does not use. Deno imports the sources too: of a CommonJS file, it may run the compiled form
 * of an earlier one with the same length.
 *
 * @param {Record<string, any>} exports  those of a clone
 * @returns {Record<string, any>}
 */
export function publishedExports(exports) {
  return Object.fromEntries(Object.entries(exports).map(([path, entry]) => [path, publishedEntry(entry)]))
}

/** @param {any} entry */
function publishedEntry(entry) {
  const required = entry.node?.require ?? entry.require
  if (required === undefined) return entry
  const { types, workerd, node, ...others } = entry
  return {
    types,
    ...(workerd && { workerd }),
    node: {
      module: node?.default ?? others.default,
      require: required,
      deno: node?.default ?? others.default,
      default: required.replace(/\.cjs$/, '.mjs')
    },
    ...others
  }
}
