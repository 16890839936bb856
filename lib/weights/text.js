// Text as bytes, and back. Emulated pages, such as jsdom, lack the classes that Node has in a module too.

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
