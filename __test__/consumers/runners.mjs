// Test runners: each runs one test of the installed package, in the ways in which their users write tests.

import { Failure } from './project.mjs'

/** @typedef {import('./project.mjs').Consumer} Consumer */
/** @typedef {import('../../tools/consumers.mjs').ToolSet} ToolSet */

const names = 'AttentionError, SelfAttention, backend, createTensor, init, scaledDotProductAttention'

/** Calls of the API that fail loudly, whatever the runner. */
const body = `
  await init()
  const x = createTensor([1, 0, 0, 1, 1, 1], [1, 3, 2])
  const { output, weights } = scaledDotProductAttention(x, x, x, { causal: true, weights: true })
  if (!(output.data instanceof Float32Array) || Math.abs(weights.data[0] - 1) > 1e-6) throw new Error('wrong weights')
  const layer = new SelfAttention({ numHeads: 1, headDim: 2 })
  const later = await layer.forwardAsync(x)
  const now = layer.forward(x)
  if (later.output.data.some((value, index) => value !== now.output.data[index])) throw new Error('wrong output')
  let caught
  try { createTensor([1], [2]) } catch (error) { caught = error }
  if (!(caught instanceof AttentionError)) throw new Error('wrong error')
  if (ruVector.createFlash(2).forward(x.data, x.data, x.data, [1, 3, 2]).length !== 6) throw new Error('wrong compat')
  if (backend().kind !== 'native') throw new Error('not native: ' + JSON.stringify(backend()))
`

const asImport = `import { ${names} } from '@ruvector/attention'
import { ruVector } from '@ruvector/attention/compat'
`
const asRequire = `const { ${names} } = require('@ruvector/attention')
const { ruVector } = require('@ruvector/attention/compat')
`
const asTest = `test('the package runs', async () => {${body}})\n`

/**
 * Runs a tool's program, or Node itself.
 *
 * @param {string} name
 * @param {{ tools: ToolSet, core?: boolean, files: Record<string, string>, commonJs?: boolean, program?: readonly
 *   [string, string?], args?: readonly string[], env?: Record<string, string>, passed: RegExp }} what
 * @returns {Consumer}
 */
const runner = (name, { tools, core = false, files, commonJs = false, program, args = [], env, passed }) => ({
  name,
  core,
  tools,
  native: true,
  async run(project) {
    project.write(files)
    if (commonJs) project.change('package.json', (manifest) => ({ ...manifest, type: 'commonjs' }))
    const how = { env: { CI: '1', NO_COLOR: '1', ...env }, withErrors: true }
    const output = await (program ? project.tool(program, args, how) : project.run(process.execPath, args, how))
    if (!passed.test(output)) throw new Failure(`the test did not pass: ${output}`)
    return {}
  }
})

const jest = /** @type {const} */ ({ tools: 'jest', program: ['jest'], passed: /^Tests: +1 passed, 1 total$/m })
const vitest = /** @type {const} */ ({ tools: 'vitest', program: ['vitest'], passed: /Tests +1 passed/ })
const nodeTest = /** @type {const} */ ({ tools: 'node', core: true, args: ['--test'], passed: /^# pass 1$/m })
const tsconfig = JSON.stringify({
  compilerOptions: { module: 'commonjs', target: 'es2022', esModuleInterop: true, types: ['jest'], skipLibCheck: true }
})

/** @type {Consumer[]} */
export const runners = [
  runner('Jest: CommonJS', { ...jest, core: true, commonJs: true, files: { 'a.test.js': asRequire + asTest } }),
  runner('Jest: jsdom', {
    ...jest,
    core: true,
    commonJs: true,
    files: { 'a.test.js': asRequire + asTest },
    args: ['--env=jsdom']
  }),
  runner('Jest: babel-jest', {
    ...jest,
    commonJs: true,
    files: {
      'a.test.js': asImport + asTest,
      'babel.config.json': JSON.stringify({ presets: [['@babel/preset-env', { targets: { node: 'current' } }]] })
    }
  }),
  runner('Jest: ts-jest', {
    ...jest,
    commonJs: true,
    files: {
      'a.test.ts': asImport + asTest.replace('let caught\n', 'let caught: unknown\n'),
      'tsconfig.json': tsconfig,
      'jest.config.json': JSON.stringify({ transform: { '\\.ts$': 'ts-jest' } })
    }
  }),
  runner('Jest: ES modules', {
    ...jest,
    files: { 'a.test.js': asImport + asTest },
    env: { NODE_OPTIONS: '--experimental-vm-modules' }
  }),
  ...['node', 'jsdom', 'happy-dom'].map((environment) =>
    runner(`Vitest: ${environment}`, {
      ...vitest,
      core: environment === 'node',
      files: { 'a.test.js': `import { test } from 'vitest'\n${asImport}${asTest}` },
      args: ['run', '--environment', environment]
    })
  ),
  runner('Mocha: import', {
    tools: 'mocha',
    program: ['mocha'],
    files: { 'test/a.js': asImport + asTest.replace('test(', 'it(') },
    passed: /1 passing/
  }),
  runner('Mocha: require', {
    tools: 'mocha',
    program: ['mocha'],
    commonJs: true,
    files: { 'test/a.js': asRequire + asTest.replace('test(', 'it(') },
    passed: /1 passing/
  }),
  runner('node:test: import', {
    ...nodeTest,
    files: { 'a.test.mjs': `import test from 'node:test'\n${asImport}${asTest}` }
  }),
  runner('node:test: require', {
    ...nodeTest,
    files: { 'a.test.cjs': `const test = require('node:test')\n${asRequire}${asTest}` }
  }),
  ...['ts', 'cts'].map((extension) =>
    runner(`tsx: .${extension}`, {
      tools: 'tsx',
      program: ['tsx'],
      files: {
        [`a.${extension}`]: `${asImport}void (async () => {${body.replace('let caught\n', 'let caught: unknown\n')} console.log('it ran') })()\n`
      },
      args: [`a.${extension}`],
      passed: /it ran/
    })
  )
]
