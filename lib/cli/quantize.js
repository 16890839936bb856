#!/usr/bin/env node
// `npx @ruvector/attention quantize FILE.safetensors --type q8_0 --output FILE`: converts the weights of a file.

import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { createProgress } from './progress.js'
import { UsageError, orFailure, program, requiredOption, weightType } from './program.js'
import { quantizeFile } from './quantize-file.js'
import { quantizeFolder } from './quantize-folder.js'

const USAGE = `Usage: npx @ruvector/attention quantize INPUT --type TYPE --output OUTPUT [options]

Converts the matrices of a weights file, its floats with two dimensions, and copies everything else. Also accepts the
model.safetensors.index.json of a sharded model. Reads one tensor at a time, so files may be of any size.

INPUT may be the folder of a model: its weights are converted, except positions, token types and biases, which models
keep in 32 bits. The other files are copied, except hidden ones. OUTPUT is then a new folder for loadModel.

  --type TYPE        q8_0 (8 bits in groups of 32, as in GGUF), f16, bf16 or f32
  --output OUTPUT    the file or folder to write; it appears once it is whole
  --json             print a summary as JSON
  --help             show this text

Exits with 0; with 1 if a file cannot be used; with 2 for a wrong command line.
`

const OPTIONS = /** @type {const} */ ({ type: { type: 'string' }, output: { type: 'string' } })

await program(USAGE, { positionals: true, options: OPTIONS }, async ({ json, positionals, values }) => {
  const [input, ...more] = positionals
  if (input === undefined || more.length > 0) throw new UsageError('expected exactly one file or folder')
  const [type, output] = [weightType(requiredOption(values, 'type')), requiredOption(values, 'output')]
  if (resolve(input) === resolve(output)) throw new UsageError('--output: expected another file than the input')
  return orFailure(async () => {
    /** @type {ReturnType<typeof createProgress> | undefined} */
    let progress
    const onProgress = (/** @type {number} */ done, /** @type {number} */ total) => {
      progress ??= createProgress('MB', Math.ceil(total / 1e6))
      progress.show(Math.ceil(done / 1e6))
    }
    const given = await stat(input)
    const quantize = given.isDirectory() ? quantizeFolder : quantizeFile
    const { converted, tensors, bytes, read } = await quantize(input, output, { type, onProgress })
    progress?.end()
    const summary = { input, output, type, converted, tensors, bytes }
    if (json) return { text: `${JSON.stringify(summary, null, 2)}\n` }
    const megabytes = (/** @type {number} */ count) => `${(count / 1e6).toFixed(1)} MB`
    return {
      text: `${output}: ${converted} of ${tensors} tensors converted to ${type}, ${megabytes(read)} to ${megabytes(bytes)}\n`
    }
  })
})
