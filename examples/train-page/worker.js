// Trains on the graph that the page asks for, and reports each step: the loss, and the class of every node.
import { loadBackend } from '../../lib/entries/training-browser.js'
import { blockModel } from './blocks.js'
import { karateClub } from './karate.js'
import { SETTINGS, createNetwork } from './network.js'
import { placeByForces, placeByLabels } from './places.js'

/** @typedef {'karate' | 'blocks'} Name */
/**
 * A message to the page.
 *
 * @typedef {{ kind: 'graph', run: number, name: Name, steps: number, data: import('./network.js').Data,
 *     places: { x: Float32Array, y: Float32Array } }
 *   | { kind: 'step', run: number, step: number, loss: number, right: number, total: number, predicted: Uint8Array }
 *   | { kind: 'end', run: number, seconds: number, simd: string }
 *   | { kind: 'error', run: number, message: string }} Report
 */

const GRAPHS = {
  karate: { make: karateClub, place: placeByForces, steps: 100 },
  blocks: { make: () => blockModel(), place: placeByLabels, steps: 40 }
}
/** The least time between two steps, so that small graphs can be watched, in milliseconds. */
const PACE = 16

/** The run that the page wants; runs before it end. */
let wanted = 0
const isWanted = (/** @type {number} */ run) => run === wanted

/** @param {Report} report */
const tell = (report) => postMessage(report)
const pause = (/** @type {number} */ milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))

/** @param {Name} name @param {number} run */
async function train(name, run) {
  const attention = /** @type {import('@ruvector/attention/training').Attention} */ (
    /** @type {unknown} */ (await loadBackend('wasm'))
  )
  const { make, place, steps } = GRAPHS[name]
  const data = make()
  tell({ kind: 'graph', run, name, steps, data, places: place(data) })
  const network = createNetwork(attention, data, SETTINGS[name])
  let busy = 0
  try {
    for (let step = 1; step <= steps && isWanted(run); step++) {
      const start = performance.now()
      const loss = network.step(step)
      const spent = performance.now() - start
      busy += spent
      const predicted = network.predict()
      tell({ kind: 'step', run, step, loss, right: network.right(predicted), total: network.total, predicted })
      await pause(Math.max(PACE - spent, 0))
    }
  } finally {
    network.dispose()
  }
  if (isWanted(run)) tell({ kind: 'end', run, seconds: busy / 1000, simd: String(attention.backend().simd) })
}

addEventListener('message', async ({ data: { name, run } }) => {
  wanted = run
  try {
    await train(name, run)
  } catch (error) {
    tell({ kind: 'error', run, message: error instanceof Error ? error.message : String(error) })
  }
})
