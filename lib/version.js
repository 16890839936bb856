// The version that package.json, the addon and the WebAssembly module all have to carry.

export const version = '0.1.0'
