// The version, which must equal those of package.json, the addon and the WebAssembly module.

export const version = '0.1.0'
