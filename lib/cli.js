#!/usr/bin/env node
// The command line: `npx @ruvector/attention <command>`. Each command is a program of its own, loaded when it is asked for.

const COMMANDS = {
  bench: { file: '../benchmark/run.js', about: 'time the native and the WebAssembly backend side by side' },
  doctor: { file: './cli/doctor.js', about: 'say which backends run here, and how to mend one that does not' },
  inspect: { file: './cli/inspect.js', about: 'list what a safetensors file holds, and which layers it fits' }
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
  process.stderr.write(`there is no command ${name}\n\n${USAGE}`)
  process.exitCode = 2
}
