// Trains a two-layer graph attention network on both backends: on Zachary's karate club from one label per community,
// and on a stochastic block model of 5,000 nodes, whose loss curve is compared with that of PyTorch Geometric. Exits
// with an error if a backend is missing, if fewer than 24 of 30 members are found, or if the curves differ.
import { readFileSync } from 'node:fs'
import { loadBackend } from '@ruvector/attention/training'
import { blockModel } from '../train-page/blocks.js'
import { karateClub } from '../train-page/karate.js'
import { SETTINGS, createNetwork } from '../train-page/network.js'

const STEPS = 200
const FEWEST = 24
/** The curve of scripts/golden/train_gat.py: the same network from the same parameters, in 64 bits. */
const peer = JSON.parse(readFileSync(new URL('pyg.json', import.meta.url), 'utf8'))
const TOLERANCE = 1e-3

/**
 * Trains on a graph, and returns the losses of all steps and the number of nodes that are found.
 *
 * @param {import('@ruvector/attention/training').Attention} attention
 * @param {'karate' | 'blocks'} name
 * @param {import('../train-page/network.js').Data} data
 * @param {number} steps
 */
function train(attention, name, data, steps) {
  const network = createNetwork(attention, data, SETTINGS[name])
  const losses = Array.from({ length: steps }, (_, step) => network.step(step))
  const right = network.right(network.predict())
  network.dispose()
  return { losses, found: `${right} of ${network.total}`, right }
}

/** Draws losses, the largest one as a full block. @param {readonly number[]} losses */
const curve = (losses) => losses.map((loss) => ' ▁▂▃▄▅▆▇█'[Math.round((8 * loss) / Math.max(...losses))]).join('')

/** @param {readonly number[]} losses */
const ends = (losses) => `${losses[0].toFixed(3)} to ${losses[losses.length - 1].toFixed(3)}`

console.log('Zachary’s karate club: 34 members, 4 communities, of which one label each is given')
console.log(`Stochastic block model: 5,000 nodes, 5 blocks, of which 100 labels each are given\n`)
console.log(`PyTorch Geometric: ${curve(peer.losses)} loss ${ends(peer.losses)}, ${peer.right} of 4500 found`)
const blocks = blockModel()
for (const kind of /** @type {const} */ (['native', 'wasm'])) {
  try {
    const attention = await loadBackend(kind)
    const club = train(attention, 'karate', karateClub(), STEPS)
    console.log(`\n${kind}, club:   loss ${ends(club.losses)} in ${STEPS} steps, ${club.found} found`)
    const { losses, found } = train(attention, 'blocks', blocks, peer.losses.length)
    const difference = Math.max(...losses.map((loss, step) => Math.abs(loss - peer.losses[step])))
    console.log(`${kind}, blocks: ${curve(losses)} loss ${ends(losses)}, ${found} found`)
    console.log(`largest difference from PyTorch Geometric's losses: ${difference.toExponential(1)}`)
    if (club.right < FEWEST || !(difference <= TOLERANCE)) process.exitCode = 1
  } catch (error) {
    console.error(`${kind}: ${error instanceof Error ? error.message : error}`)
    process.exitCode = 1
  }
}
