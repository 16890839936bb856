// What runtimes with WebAssembly imports make of a .wasm file.
declare module '*.wasm' {
  const module: WebAssembly.Module
  export default module
}
