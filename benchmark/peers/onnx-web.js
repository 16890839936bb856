// ONNX Runtime for the web, on one thread, in any engine.

const name = 'onnxruntime-web'

export async function importOnnxWeb() {
  const ort = await import(name)
  ort.env.wasm.numThreads = 1
  ort.env.logLevel = 'error'
  return ort
}
