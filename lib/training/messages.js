// The primitives of message passing on the tape. None of them stores the messages.

import { encodeConfig } from '../checks/options.js'

/** @typedef {import('./recorder.js').Recorder} Recorder */
/** @typedef {import('./edges.js').Edges} Edges */
/** @typedef {import('./tape.js').Value} Value */
/** @typedef {'sum' | 'mean' | 'max' | 'min'} Reduce */

/**
 * Reduces `weight · x[source]` over the edges that reach each target.
 *
 * @param {Recorder} recorder
 * @param {Edges} edges
 * @param {Value} x  `[sources, ...]`
 * @param {Value} [weight]  `[K]`, or `[K, H]` for x `[sources, H, ...]`
 * @param {Reduce} [reduce]
 */
export const propagate = (recorder, { resident }, x, weight, reduce = 'sum') =>
  recorder.apply(['propagate', 'propagateBackward'], [resident], [x, weight], encodeConfig({ reduce }))

/**
 * Softmax over the edges that reach the same target.
 *
 * @param {Recorder} recorder
 * @param {Edges} edges
 * @param {Value} scores  `[K]` or `[K, H]`
 */
export function edgeSoftmax(recorder, { resident }, scores) {
  const output = recorder.call('edgeSoftmax', resident).input(scores).run()
  return recorder.record([scores], output, (gradient) =>
    recorder
      .call('edgeSoftmaxBackward', resident)
      .input(gradient)
      .input(output)
      .returning((results) => results)
  )
}

/**
 * The parts of the scores of edges, which decide how an edge is scored.
 *
 * @typedef {object} Scored
 * @property {Value} values  `[sources, H, C]`
 * @property {Value} [sources]  scores `[sources, H]` that are added, or keys `[sources, H, C]`
 * @property {Value} targets  scores `[targets, H]`, or queries `[targets, H, C]`
 * @property {Value} [attention]  `[1, H, C]`, if the rows of values and targets are joined
 * @property {Value} [edges]  scores `[K, H]`, or features `[K, size]`
 * @property {Value} [projection]  the scores of added self-loops, `[1, H]`, or the weight of the features
 */

/**
 * Sums the values of sources by the softmax of the scores of edges: `[targets, H, C]`.
 *
 * @param {Recorder} recorder
 * @param {Edges} graph
 * @param {Scored} scored
 * @param {{ addSelfLoops?: boolean, fillValue?: number, negativeSlope?: number, dropout?: number, seed?: number }}
 *   options
 */
export const edgeAttention = (recorder, { resident }, scored, options) =>
  recorder.apply(
    ['edgeAttention', 'edgeAttentionBackward'],
    [resident],
    [scored.values, scored.sources, scored.targets, scored.attention, scored.edges, scored.projection],
    encodeConfig(options)
  )

/**
 * `1/√x`, and 0 where x is 0.
 *
 * @param {Recorder} recorder
 * @param {Value} x
 */
export function inverseRoot(recorder, x) {
  const data = x.data.map((value) => (value === 0 ? 0 : 1 / Math.sqrt(value)))
  return recorder.record([x], { data, shape: x.shape }, (gradient) => [
    { data: gradient.data.map((value, at) => -0.5 * value * data[at] ** 3), shape: x.shape }
  ])
}
