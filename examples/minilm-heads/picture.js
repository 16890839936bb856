// The picture of the example: twelve heads over one sentence, each with its habit and strongest pair.
import { attentionHeatmap } from '@ruvector/attention/plot'
import { pairInWords } from './describe-heads.js'

/**
 * @param {import('@ruvector/attention').Tensor} weights `[1, heads, tokens, tokens]`
 * @param {import('./describe-heads.js').HeadDescription[]} descriptions
 * @param {{ sentence: string, tokens: readonly string[] }} input
 */
export function drawHeads(weights, descriptions, { sentence, tokens }) {
  return attentionHeatmap(weights, {
    queryLabels: tokens,
    keyLabels: tokens,
    captions: descriptions.map(({ habit, pairs }) => [
      habit,
      ...pairs.slice(0, 1).map((pair) => pairInWords(pair, tokens))
    ]),
    marks: descriptions.map(({ pairs }) => pairs[0]),
    markLabel: 'a head’s strongest pair of words',
    title: `Attention of the ${descriptions.length} heads in the first layer of all-MiniLM-L6-v2`,
    notes: [`“${sentence}”`, 'Rows are query tokens, columns are the tokens they attend to.']
  })
}
