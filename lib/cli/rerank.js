#!/usr/bin/env node
// `npx @ruvector/attention rerank QUERY INPUT --model DIR`: sorts texts by a cross-encoder's scores.

import { loadModel, readTexts } from '../entries/models.js'
import { UsageError, orFailure, program, requiredOption, weightType, wholeNumber } from './program.js'

const USAGE = `Usage: npx @ruvector/attention rerank QUERY INPUT --model DIR [options]

Scores every text of a file by a query with a cross-encoder, and prints score, id and text, best first. INPUT is as for
embed.

  --model DIR     the folder of the cross-encoder
  --type TYPE     keep its matrices in f16, bf16 or q8_0, which needs less memory (f32)
  --field NAME    the field or column of the text (text)
  --top N         the number of results (10)
  --json          print the results as JSON
  --help          show this text

Exits with 0; with 1 if a file cannot be used; with 2 for a wrong command line.
`

const OPTIONS = /** @type {const} */ ({
  model: { type: 'string' },
  type: { type: 'string' },
  field: { type: 'string', default: 'text' },
  top: { type: 'string', default: '10' }
})

await program(USAGE, { positionals: true, options: OPTIONS }, async ({ json, positionals, values }) => {
  const [query, path, ...more] = positionals
  if (query === undefined || path === undefined || more.length > 0) {
    throw new UsageError('expected a query and an input file; quote the query')
  }
  const folder = requiredOption(values, 'model')
  const type = weightType(values.type)
  const topK = wholeNumber('top', values.top)
  return orFailure(async () => {
    /** @type {import('../../models.d.ts').Text[]} */
    const texts = []
    for await (const text of readTexts(path, { field: values.field })) texts.push(text)
    const model = await loadModel(folder, { type })
    const ranked = await model.rerank(
      query,
      texts.map(({ text }) => text),
      { topK }
    )
    model.dispose()
    const hits = ranked.map(({ index, score }) => ({ ...texts[index], score }))
    if (json) return { text: `${JSON.stringify(hits, null, 2)}\n` }
    return { text: hits.map(({ id, score, text }) => `${score.toFixed(4)}  ${id}  ${text}\n`).join('') }
  })
})
