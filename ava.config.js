// The specs of the package; each registers its tests for the native backend and for WebAssembly.
export default {
  files: ['__test__/**/*.spec.js'],
  // Property tests of one file take long on a small machine.
  timeout: '5m',
  // The addon has its own thread pool, and two concurrent worker threads are enough to fill such a machine.
  concurrency: 2,
  workerThreads: false
}
