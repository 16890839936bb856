#!/usr/bin/env node
// `npx @ruvector/attention embed INPUT --model DIR --output DIR`: embeds every text of a file.

import { loadModel } from '../entries/models.js'
import { describeInput, groupsOf, hasShard, identify, openCorpus, writeShard } from './corpus.js'
import { createProgress } from './progress.js'
import { UsageError, orFailure, program, requiredOption, wholeNumber } from './program.js'

const USAGE = `Usage: npx @ruvector/attention embed INPUT --model DIR --output DIR [options]

Embeds every text of a file with a model from its folder, and writes the vectors as safetensors files, each with the
tensor 'vectors' and the ids of its texts. INPUT has one text per line; a .jsonl file has strings, or objects with the
fields text and id; a .csv file has the columns text and id. Without ids, the number of the line is the id.

  --model DIR        the folder with config.json, tokenizer.json and model.safetensors
  --output DIR       the folder to write; it is created
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
  const { prompt, normalize } = values
  const dimensions = values.dimensions === undefined ? undefined : wholeNumber('dimensions', values.dimensions)
  const shardTexts = wholeNumber('shard', values.shard)
  return orFailure(async () => {
    const input = await describeInput(path, values.field)
    const model = await loadModel(folder)
    const options = { prompt, normalize, dimensions }
    const identity = { family: model.family, sha256: await identify(folder) }
    const manifest = /** @type {const} */ ({ version: 1, input, model: identity, options, shardTexts })
    await openCorpus(output, manifest, values.resume)
    const progress = createProgress('texts', input.texts)
    let [done, skipped, shards, size] = [0, 0, 0, 0]
    for await (const texts of groupsOf(manifest)) {
      if (values.resume && (await hasShard(output, shards, texts))) {
        skipped += texts.length
      } else {
        const onProgress = (/** @type {number} */ fraction) => progress.show(done + fraction * texts.length, skipped)
        const vectors = await model.embed(
          texts.map(({ text }) => text),
          { ...options, onProgress }
        )
        size = vectors.shape[1]
        await writeShard(output, shards, texts, vectors)
      }
      done += texts.length
      shards++
      progress.show(done, skipped)
    }
    const seconds = progress.end()
    model.dispose()
    const summary = { output, texts: done, skipped, shards, dimensions: size || undefined, seconds }
    if (json) return { text: `${JSON.stringify(summary, null, 2)}\n` }
    const rate = ((done - skipped) / seconds).toFixed(0)
    const kept = skipped > 0 ? `, ${skipped} of them earlier` : ''
    return {
      text: `${done} texts in ${shards} ${shards === 1 ? 'file' : 'files'} of ${output}${kept}: ${rate} texts/s\n`
    }
  })
})
