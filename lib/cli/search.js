#!/usr/bin/env node
// `npx @ruvector/attention search QUERY --model DIR --vectors DIR`: the texts closest in meaning to a query.

import { topK } from '../../index.js'
import { openCorpus, readTexts } from '../entries/models.js'
import { UsageError, orFailure, program, requiredOption, wholeNumber } from './program.js'

const USAGE = `Usage: npx @ruvector/attention search QUERY --model DIR --vectors DIR [options]

Finds the texts closest in meaning to a query, by cosine, among the vectors that embed wrote. Prints score, id and text;
texts come from the input of embed, if it is where it was.

  --model DIR      the folder of the model that embed used; it is loaded with the same type
  --vectors DIR    the folder that embed wrote
  --top N          the number of results (10)
  --prompt NAME    a prompt for the query: a prompt of the model, or the text of another
  --json           print the results as JSON
  --help           show this text

Exits with 0; with 1 if a file cannot be used; with 2 for a wrong command line.
`

const OPTIONS = /** @type {const} */ ({
  model: { type: 'string' },
  vectors: { type: 'string' },
  top: { type: 'string', default: '10' },
  prompt: { type: 'string' }
})

/** @typedef {{ id: string | number, score: number, text?: string }} Hit */

/**
 * Adds the texts to hits, if the input is unchanged as far as its ids go.
 *
 * @param {Hit[]} hits
 * @param {{ path: string, field: string }} input
 */
async function addTexts(hits, { path, field }) {
  const wanted = new Map(hits.map((hit) => [hit.id, hit]))
  try {
    for await (const { id, text } of readTexts(path, { field })) {
      const hit = wanted.get(id)
      if (hit) hit.text = text
    }
  } catch {
    // Results without texts are still results.
  }
}

await program(USAGE, { positionals: true, options: OPTIONS }, async ({ json, positionals, values }) => {
  const [query, ...more] = positionals
  if (query === undefined || more.length > 0) throw new UsageError('expected exactly one query; quote it')
  const [folder, output] = [requiredOption(values, 'model'), requiredOption(values, 'vectors')]
  const top = wholeNumber('top', values.top)
  return orFailure(async () => {
    const corpus = await openCorpus(output, { model: folder })
    const { input, options } = corpus.manifest
    const model = /** @type {import('../../models.d.ts').Model} */ (corpus.model)
    const wanted = await model.embed(query, { dimensions: options.dimensions, prompt: values.prompt })
    /** @type {Hit[]} */
    let hits = []
    for (let shard = 0; shard < corpus.numShards; shard++) {
      const { ids, vectors } = await corpus.read(shard)
      const { values, indices } = topK(wanted, vectors, Math.min(top, ids.length), { metric: 'cosine' })
      const found = Array.from(indices.data, (index, at) => ({ id: ids[index], score: values.data[at] }))
      hits = [...hits, ...found].sort((a, b) => b.score - a.score).slice(0, top)
    }
    corpus.dispose()
    await addTexts(hits, input)
    if (json) return { text: `${JSON.stringify(hits, null, 2)}\n` }
    return {
      text: hits
        .map(({ id, score, text }) => `${score.toFixed(4)}  ${id}  ${text ?? ''}`.trimEnd())
        .join('\n')
        .concat('\n')
    }
  })
})
