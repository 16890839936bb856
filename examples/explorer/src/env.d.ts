// Values that the build inserts: addresses of files, and the sizes of the modules.

declare module '*?url' {
  const address: string
  export default address
}

declare const __WASM_BYTES__: { simd: number; relaxed: number }

interface ImportMeta {
  readonly env: { readonly PROD: boolean }
}
