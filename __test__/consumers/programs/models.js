// The first lines of the README, on the folder beside this program; prints or stores the vectors.
import { loadModel } from '@ruvector/attention/models'

const model = await loadModel('./all-MiniLM-L6-v2', { type: 'q8_0' })
const vectors = await model.embed(['A man is eating food.', 'Someone eats a meal.'])

const values = [...vectors.data]
const { document, postMessage } = /** @type {any} */ (globalThis)
if (document) {
  const worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' })
  const inWorker = new Promise((resolve, reject) => {
    worker.addEventListener('message', ({ data }) => resolve(data))
    worker.addEventListener('error', ({ message }) => reject(new Error(message || 'the worker did not load')))
  })
  ;/** @type {any} */ (globalThis).outcome = inWorker.then((own) => ({ page: values, worker: own }))
} else if ('process' in globalThis) {
  console.log(JSON.stringify(values))
} else {
  postMessage(values)
}
