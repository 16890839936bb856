#!/usr/bin/env node
// The command line: `npx @ruvector/attention <command>`. Each command is a separate program, loaded on demand.

import { suggestion } from '../checks/nearest.js'
import { version } from '../version.js'

const COMMANDS = {
  bench: { file: '../../benchmark/run.js', about: 'time the native and the WebAssembly backend' },
  doctor: { file: './doctor.js', about: 'report which backends run here, and how to fix one that does not' },
  embed: { file: './embed.js', about: 'embed every text of a file with a model from its folder' },
  generate: { file: './generate.js', about: 'continue a text with a model from its folder' },
  inspect: { file: './inspect.js', about: 'list the tensors in a safetensors file, and the layers they fit' },
  quantize: { file: './quantize.js', about: 'convert the weights of a file or of a model to 16 or 8 bits' },
  rerank: { file: './rerank.js', about: 'sort the texts of a file by a query, with a cross-encoder' },
  search: { file: './search.js', about: 'find the texts closest to a query among the vectors of embed' }
}

const USAGE = `Usage: npx @ruvector/attention <command> [options]

${Object.entries(COMMANDS)
  .map(([name, { about }]) => `  ${name.padEnd(9)}${about}`)
  .join('\n')}

<command> --help lists the options of a command; --version prints the version.
`

/**
 * @param {readonly string[]} args
 * @returns {Promise<void>}
 */
async function main([name, ...rest]) {
  const command = Object.entries(COMMANDS).find(([known]) => known === name)?.[1]
  if (command) {
    process.argv.splice(2, Infinity, ...rest)
    await import(command.file)
  } else if (name === 'help' && rest.length > 0) {
    await main([rest[0], '--help'])
  } else if (name === undefined || ['--help', '-h', 'help'].includes(name)) {
    process.stdout.write(USAGE)
  } else if (['--version', '-v'].includes(name)) {
    process.stdout.write(`${version}\n`)
  } else {
    const meant = suggestion(name, [...Object.keys(COMMANDS), 'help'])
    process.stderr.write(`unknown command: ${name}${meant ? `; did you mean ${meant}?` : ''}\n\n${USAGE}`)
    process.exitCode = 2
  }
}

await main(process.argv.slice(2))
