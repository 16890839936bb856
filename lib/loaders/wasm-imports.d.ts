// The type of an imported .wasm file in runtimes that support it.
declare module '*.wasm' {
  const module: WebAssembly.Module
  export default module
}
