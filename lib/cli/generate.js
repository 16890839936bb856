#!/usr/bin/env node
// `npx @ruvector/attention generate PROMPT --model DIR`: continues a text, and prints it as it comes.

import { loadModel } from '../entries/models.js'
import { UsageError, orFailure, program, requiredOption, weightType, wholeNumber } from './program.js'

const USAGE = `Usage: npx @ruvector/attention generate PROMPT --model DIR [options]

Continues a text with a model from its folder, and prints the new text as it comes.

  --model DIR          the folder with config.json, tokenizer.json and model.safetensors
  --type TYPE          keep its matrices in f16, bf16 or q8_0, which needs less memory (f32)
  --chat               take the prompt as a message, by the folder's chat template; needs @huggingface/jinja
  --max-tokens N       the largest number of tokens (256)
  --temperature X      0 takes the likeliest token, larger values choose more freely (0)
  --top-k N            choose among the N likeliest tokens
  --top-p X            choose among the likeliest tokens with this share together
  --seed N             the seed of random choices (0)
  --json               print the whole text and its tokens as JSON
  --help               show this text

Exits with 0; with 1 if a file cannot be used; with 2 for a wrong command line.
`

const OPTIONS = /** @type {const} */ ({
  model: { type: 'string' },
  type: { type: 'string' },
  chat: { type: 'boolean', default: false },
  'max-tokens': { type: 'string', default: '256' },
  temperature: { type: 'string', default: '0' },
  'top-k': { type: 'string' },
  'top-p': { type: 'string' },
  seed: { type: 'string', default: '0' }
})

/** @param {string} name @param {string | undefined} value */
function numberOption(name, value) {
  if (value === undefined) return undefined
  const number = Number(value)
  if (value.trim() !== '' && Number.isFinite(number)) return number
  throw new UsageError(`--${name}: expected a number, got '${value}'`)
}

await program(USAGE, { positionals: true, options: OPTIONS }, async ({ json, positionals, values }) => {
  const [prompt, ...more] = positionals
  if (prompt === undefined || more.length > 0) throw new UsageError('expected exactly one prompt; quote it')
  const folder = requiredOption(values, 'model')
  const type = weightType(values.type)
  const options = {
    maxTokens: wholeNumber('max-tokens', values['max-tokens']),
    temperature: numberOption('temperature', values.temperature),
    topK: values['top-k'] === undefined ? undefined : wholeNumber('top-k', values['top-k']),
    topP: numberOption('top-p', values['top-p']),
    seed: numberOption('seed', values.seed)
  }
  return orFailure(async () => {
    const model = await loadModel(folder, { type })
    const tokens = []
    let whole = ''
    for await (const { token, text } of model.generate(
      values.chat ? [{ role: 'user', content: prompt }] : prompt,
      options
    )) {
      tokens.push(token)
      whole += text
      if (!json) process.stdout.write(text)
    }
    model.dispose()
    return { text: json ? `${JSON.stringify({ text: whole, tokens }, null, 2)}\n` : '\n' }
  })
})
