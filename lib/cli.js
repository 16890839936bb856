#!/usr/bin/env node
// The command line: `npx @ruvector/attention <command>`. Each command is a separate program, loaded on demand.

const COMMANDS = {
  bench: { file: '../benchmark/run.js', about: 'time the native and the WebAssembly backend' },
  doctor: { file: './cli/doctor.js', about: 'report which backends run here, and how to fix one that does not' },
  inspect: { file: './cli/inspect.js', about: 'list the tensors in a safetensors file, and the layers they fit' }
}

const USAGE = `Usage: npx @ruvector/attention <command> [options]

${Object.entries(COMMANDS)
  .map(([name, { about }]) => `  ${name.padEnd(9)}${about}`)
  .join('\n')}

<command> --help lists the options of a command.
`

const [name, ...rest] = process.argv.slice(2)
const command = Object.entries(COMMANDS).find(([known]) => known === name)?.[1]
if (command) {
  process.argv.splice(2, Infinity, ...rest)
  await import(command.file)
} else if (name === undefined || name === '--help') {
  process.stdout.write(USAGE)
} else {
  process.stderr.write(`unknown command: ${name}\n\n${USAGE}`)
  process.exitCode = 2
}
