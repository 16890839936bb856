// Converts text to bytes and back. In emulated pages, such as jsdom, which lack the global classes, those of node:util
// are used.

/** @returns {Pick<typeof globalThis, 'TextDecoder' | 'TextEncoder'>} */
const classes = () =>
  typeof TextDecoder === 'function' && typeof TextEncoder === 'function'
    ? globalThis
    : /** @type {any} */ (globalThis).process.getBuiltinModule('node:util')

/**
 * @param {string} encoding
 * @param {TextDecoderOptions} [options]
 */
export const decoder = (encoding, options) => new (classes().TextDecoder)(encoding, options)

export const encoder = () => new (classes().TextEncoder)()
