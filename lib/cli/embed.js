#!/usr/bin/env node
// `npx @ruvector/attention embed INPUT --model DIR --output DIR`: embeds every text of a file.

import { createCorpus } from '../entries/models.js'
import { createProgress } from './progress.js'
import { UsageError, orFailure, program, requiredOption, weightType, wholeNumber } from './program.js'

const USAGE = `Usage: npx @ruvector/attention embed INPUT --model DIR --output DIR [options]

Embeds every text of a file with a model from its folder, and writes the vectors as safetensors files, each with the
tensor 'vectors' and the ids of its texts. INPUT has one text per line; a .jsonl file has strings, or objects with the
fields text and id; a .csv file has the columns text and id. Without ids, the number of the line is the id.

  --model DIR        the folder with config.json, tokenizer.json and model.safetensors
  --output DIR       the folder to write; it is created
  --type TYPE        keep the model's matrices in f16, bf16 or q8_0, which needs less memory (f32)
  --field NAME       the field or column of the text (text)
  --prompt NAME      a prompt of the model, or the text of another
  --normalize        scale vectors to length 1
  --dimensions N     keep the first N dimensions
  --shard N          texts per file (10000)
  --resume           continue a run that was interrupted: files that are whole stay
  --json             print a summary as JSON
  --help             show this text

Exits with 0; with 1 if a file cannot be used; with 2 for a wrong command line.
`

const OPTIONS = /** @type {const} */ ({
  model: { type: 'string' },
  output: { type: 'string' },
  type: { type: 'string' },
  field: { type: 'string', default: 'text' },
  prompt: { type: 'string' },
  normalize: { type: 'boolean' },
  dimensions: { type: 'string' },
  shard: { type: 'string', default: '10000' },
  resume: { type: 'boolean', default: false }
})

await program(USAGE, { positionals: true, options: OPTIONS }, async ({ json, positionals, values }) => {
  const [path, ...more] = positionals
  if (path === undefined || more.length > 0) throw new UsageError('expected exactly one input file')
  const [folder, output] = [requiredOption(values, 'model'), requiredOption(values, 'output')]
  const type = weightType(values.type)
  const { field, prompt, normalize, resume } = values
  const dimensions = values.dimensions === undefined ? undefined : wholeNumber('dimensions', values.dimensions)
  const shardTexts = wholeNumber('shard', values.shard)
  return orFailure(async () => {
    const options = { input: path, model: folder, type, field, shardTexts, prompt, normalize, dimensions, resume }
    const corpus = await createCorpus(output, options)
    const { input, shards } = corpus.manifest
    const progress = createProgress('texts', input.texts)
    let [done, skipped] = [0, 0]
    for (let shard = 0; shard < shards.count; shard++) {
      const texts = Math.min(shards.texts, input.texts - done)
      const onProgress = (/** @type {number} */ fraction) => progress.show(done + fraction * texts, skipped)
      if (!(await corpus.embed(shard, { onProgress }))) skipped += texts
      done += texts
      progress.show(done, skipped)
    }
    const seconds = progress.end()
    const size = shards.count > 0 ? (await corpus.read(0)).vectors.shape[1] : undefined
    corpus.dispose()
    const summary = { output, texts: done, skipped, shards: shards.count, dimensions: size, seconds }
    if (json) return { text: `${JSON.stringify(summary, null, 2)}\n` }
    const rate = ((done - skipped) / seconds).toFixed(0)
    const kept = skipped > 0 ? `, ${skipped} of them earlier` : ''
    const files = shards.count === 1 ? 'file' : 'files'
    return { text: `${done} texts in ${shards.count} ${files} of ${output}${kept}: ${rate} texts/s\n` }
  })
})
