// Values that the build inserts: addresses of files, and the sizes of the modules.

declare module '*?url' {
  const address: string
  export default address
}

declare const __WASM_BYTES__: { simd: number; relaxed: number }

/** The size of the model that the page is served with; 0 without one. */
declare const __SERVED_BYTES__: number

/** The size of the writing model that the page is served with; 0 without one. */
declare const __GENERATOR_BYTES__: number

interface ImportMeta {
  readonly env: { readonly PROD: boolean }
}
