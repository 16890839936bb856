// Implements the npm scripts: setup, builds, checks and tests, each as named and timed steps. Uses only Node's own
// modules, since it must run before anything is installed.

import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { buildNative, buildWasm, buildWithFaults } from './build.mjs'
import { installExplorer, setup, setupAarch64, setupTests, wasmEnvironment } from './setup.mjs'
import { Failure, attempt, npmProgram, query, root, run, runOnTerminal, step } from '../tools/shell.mjs'

const explorer = join(root, 'examples', 'explorer')

/** Totals over all test suites. */
const counts = { passed: 0, failed: 0 }

/** Lines of the summary about tests that this machine cannot run. @type {string[]} */
const notRun = []

/**
 * Runs a program of an npm package.
 *
 * @param {string} name
 * @param {readonly string[]} args
 */
const runNpm = (name, ...args) => run(process.execPath, [npmProgram(name), ...args])

// ── Builds ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The Rust target from the command line: `npm run build:native -- --target aarch64-unknown-linux-gnu`. */
function targetGiven() {
  const { values } = parseArgs({ args: process.argv.slice(3), options: { target: { type: 'string' } } })
  return values.target
}

/**
 * Builds both backends side by side, since the optimizer of an addon runs on a single thread. For development, they
 * keep symbols, and WebAssembly is one module without further optimization.
 */
async function build(isForDevelopment = false) {
  await sideBySide(
    step('build native', () => buildNative(undefined, isForDevelopment)),
    step('build WebAssembly', () => buildWasm(isForDevelopment))
  )
}

/**
 * Waits for all steps, also where one fails, so that none of them goes on behind the report of another.
 *
 * @param {readonly Promise<unknown>[]} steps
 */
async function sideBySide(...steps) {
  await Promise.allSettled(steps)
  await Promise.all(steps)
}

/** True for a development build: `npm run build -- --dev`. */
function isDevelopmentGiven() {
  const { values } = parseArgs({ args: process.argv.slice(3), options: { dev: { type: 'boolean' } } })
  return values.dev
}

// ── Checks ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The crates of the kernels and of the calls that both bindings share. */
const KERNELS = ['--package', 'ruvector-attention', '--package', 'ruvector-attention-calls']

/**
 * @param {readonly string[]} args
 * @param {Record<string, string>} [env]
 */
const clippy = (args, env) => run('cargo', ['clippy', '--quiet', '--locked', ...args, '--', '-D', 'warnings'], { env })

async function clippyForNative() {
  await clippy(['--all-targets', ...KERNELS, '--package', 'ruvector-attention-oracle', '--package', 'xtask'])
  // Like a Rust program that depends on the crate, without the feature that the bindings enable.
  await clippy(['--package', 'ruvector-attention'])
  // Its exports exist only when Node loads it, not in a test.
  await clippy(['--package', 'ruvector-attention-node'])
}

async function clippyForWasm() {
  const environment = wasmEnvironment()
  if (!environment) throw new Failure('no Rust compiler has the WebAssembly target: run `npm run setup`')
  const crates = [...KERNELS, '--package', 'ruvector-attention-wasm']
  const target = ['--target', 'wasm32-unknown-unknown', '--target-dir', 'target/wasm/clippy']
  for (const features of ['+simd128', '+simd128,+relaxed-simd']) {
    await clippy([...crates, ...target], { ...environment, RUSTFLAGS: `-Ctarget-feature=${features}` })
  }
}

/** Checks the Rust and the JavaScript side by side: either uses one thread for most of its time. */
const lint = () => sideBySide(lintCrates(), lintScripts())

async function lintCrates() {
  await step('rustfmt', () => run('cargo', ['fmt', '--all', '--check']))
  await step('clippy', clippyForNative)
  await step('clippy for WebAssembly', clippyForWasm)
  await step('rustdoc', () =>
    run('cargo', ['doc', '--quiet', '--locked', '--no-deps', ...KERNELS], {
      env: { RUSTDOCFLAGS: '-D warnings' }
    })
  )
}

const tsc = (/** @type {string} */ project) =>
  run(process.execPath, [npmProgram('typescript', 'tsc'), '--project', project])

/** The checks of everything but Rust. */
async function lintScripts() {
  await step('entries', () => run(process.execPath, ['scripts/entries.mjs', '--check']))
  await step('Prettier', () => runNpm('prettier', '--check', '--log-level', 'warn', '.'))
  await step('oxlint', () => runNpm('oxlint', '--deny-warnings'))
  await step('tsc', () => tsc('.'))
  await step('tsc with exactOptionalPropertyTypes', () => tsc('__test__/types'))
  await step('tsc of the explorer', () => tsc('examples/explorer'))
  await step('TypeDoc', buildDocs)
}

/** Builds the site of the guides and the reference; warnings and broken links are errors. */
async function buildDocs() {
  await runNpm('typedoc', '--options', join('scripts', 'docs', 'typedoc.js'))
  await run(process.execPath, [join('scripts', 'docs', 'crawl.mjs')])
}

async function format() {
  await run('cargo', ['fmt', '--all'])
  await run(process.execPath, ['scripts/entries.mjs'])
  await runNpm('prettier', '--write', '--log-level', 'warn', '.')
}

// ── Tests ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Runs a test suite and adds its counts; a suite that runs no test has failed.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {RegExp} passed  finds the number of passed tests in the output
 * @param {RegExp} failed
 * @param {Record<string, string>} [env]
 */
async function suite(command, args, passed, failed, env = {}) {
  // Color codes would separate the numbers from the words.
  const { failure, output } = await attempt(command, args, { env: { FORCE_COLOR: '0', NO_COLOR: '1', ...env } })
  const sum = (/** @type {RegExp} */ pattern) =>
    [...output.matchAll(pattern)].reduce((total, [, number]) => total + Number(number), 0)
  const ran = sum(passed)
  counts.passed += ran
  counts.failed += sum(failed)
  if (failure) throw failure
  if (ran === 0) throw new Failure(`\`${[command, ...args].join(' ')}\` ran no test`)
}

/**
 * @param {readonly string[]} args
 * @param {Record<string, string>} [env]
 */
const cargoTest = (args, env) =>
  suite(
    'cargo',
    ['test', '--quiet', '--locked', ...args],
    /^test result: .*? (\d+) passed/gm,
    /(\d+) failed; \d+ ignored/g,
    env
  )

/** Tests the crates with overflow checks and debug assertions, which take long to compile. */
const testChecked = () =>
  step('tests of the kernels with checks', () => cargoTest([...KERNELS, '--lib', '--tests', '--profile', 'checked']))

/**
 * Tests the crates and the fuzz targets with AddressSanitizer, whose runtime comes with the toolchain of Linux and
 * macOS.
 */
async function testSanitize() {
  const [, target] = query('rustc', ['-vV'])?.match(/^host: (.*)$/m) ?? []
  if (!target) throw new Failure('found no Rust compiler: run `npm run setup`')
  // A separate folder, since other flags make Cargo compile everything again.
  const env = {
    RUSTC_BOOTSTRAP: '1',
    RUSTFLAGS: '-Zsanitizer=address',
    // A size beyond the machine's memory is an error of the call, as with the system's allocator.
    ASAN_OPTIONS: 'allocator_may_return_null=1',
    CARGO_TARGET_DIR: join(root, 'target', 'sanitize')
  }
  const args = [...KERNELS, '--lib', '--tests', '--profile', 'checked', '--target', target]
  await step('tests of the kernels with AddressSanitizer', () => cargoTest(args, env))
}

/** Tests the crates for AArch64 in an emulator: on a processor with the dot product of bytes, and on one without. */
async function testNeon() {
  const emulated = await step('setup of AArch64', setupAarch64)
  if (!emulated) return void notRun.push('NEON not run: its emulator and compiler come from Debian')
  const { target, environmentOf } = emulated
  const args = [...KERNELS, '--lib', '--tests', '--target', target]
  await step('tests of the kernels with NEON', () => cargoTest(args, environmentOf('max')))
  const older = environmentOf('cortex-a57')
  await step('tests of 8 bits without the dot product', () => cargoTest([...args, '--', 'quantized'], older))
}

/**
 * @param {readonly string[]} [specs]  default: all
 * @param {Record<string, string>} [env]
 */
const ava = (specs = [], env = {}) =>
  suite(
    process.execPath,
    [npmProgram('ava'), ...specs],
    /^\s*(\d+) tests? passed/gm,
    /^\s*(\d+) (?:tests? failed|uncaught exceptions?)/gm,
    env
  )

/** Folders of the specs that verify numbers, on every backend and in browsers, or in Node. */
const NUMERIC = ['__test__/everywhere/**', '__test__/node/**']

/** Specs of layers, whose products and attention AMX computes. */
const LAYERS = ['layers', 'encoder', 'packed', 'weight-types'].map((name) => `__test__/everywhere/${name}.spec.js`)

/** Runs the numeric specs at the machine's lower instruction sets; all specs have already run at the best one. */
async function avaAtLowerLevels() {
  const levelWith = (/** @type {Record<string, string>} */ env) =>
    query(process.execPath, ['--input-type=module', '-e', "console.log((await import('./index.js')).backend().simd)"], {
      env
    })
  const best = levelWith({ RUVECTOR_ATTENTION_BACKEND: 'native' })
  for (const level of ['portable', 'sse2', 'avx2']) {
    // The instruction set is that of the addon alone.
    const env = { RUVECTOR_ATTENTION_SIMD: level, RUVECTOR_ATTENTION_BACKEND: 'native' }
    // Skips instruction sets that the machine lacks.
    if (level === best || levelWith(env) !== level) continue
    await step(`tests of the package at the instruction set ${level}`, () => ava(NUMERIC, env))
  }
  const emulated = { RUVECTOR_ATTENTION_SIMD: 'amx-emulated', RUVECTOR_ATTENTION_BACKEND: 'native' }
  await step('tests of layers with emulated AMX', () => ava(LAYERS, emulated))
  const amx = { RUVECTOR_ATTENTION_SIMD: 'amx', RUVECTOR_ATTENTION_BACKEND: 'native' }
  if (levelWith(amx) === 'amx') await step('tests of the package with AMX', () => ava(NUMERIC, amx))
  else notRun.push('AMX not run: this processor has none')
}

/**
 * @param {string} [program]
 * @param {Record<string, string>} [env]
 */
const browser = (program = 'run', env = {}) =>
  suite(
    process.execPath,
    [`__test__/browser/${program}.mjs`],
    /^browser: (\d+) passed/gm,
    /^browser: \d+ passed, (\d+) failed/gm,
    env
  )

/** @param {readonly string[]} args */
const explorerVite = (...args) =>
  run(process.execPath, [npmProgram('vite', 'vite', explorer), ...args], { cwd: explorer })

/** Prints the sizes of the last build: of each module by room, and of the downloads of a page. */
async function printSizes() {
  await run('cargo', ['xtask', 'size'])
  await ava(['__test__/package/size.spec.js'], { UPDATE_SIZES: '1' })
}

async function testExplorer() {
  await explorerVite('build', '--logLevel', 'warn')
  const specs = ['explorer', 'others', 'whole', 'writer', 'data'].map((name) =>
    join(explorer, 'test', `${name}.test.js`)
  )
  // Two at a time, since each waits for its browser most of the time.
  const args = ['--test', '--test-concurrency=2', '--test-reporter=spec', ...specs]
  await suite(process.execPath, args, /^ℹ pass (\d+)/gm, /^ℹ fail (\d+)/gm)
}

/** @param {readonly string[]} args  names of consumers; default: all */
const consumers = (...args) =>
  suite(
    process.execPath,
    ['__test__/consumers/run.mjs', ...args],
    /^consumers: (\d+) passed/gm,
    /^consumers: \d+ passed, (\d+) failed/gm
  )

/**
 * Runs steps until one fails, then prints how many tests passed and failed.
 *
 * @param {() => Promise<void>} steps
 */
async function counted(steps) {
  try {
    await steps()
  } catch (error) {
    // If no test failed, the failed step counts as one.
    counts.failed ||= 1
    report(error)
  }
  console.log(['', ...notRun, `${counts.passed} passed, ${counts.failed} failed`].join('\n'))
}

/** @param {{ all?: boolean }} [options]  all consumers instead of the most important ones */
async function test({ all = false } = {}) {
  await step('setup', () => setup({ tests: true }))
  const ready = setupTests({ consumers: all })
  // Awaited below. If the build fails first, its error is the one reported.
  ready.catch(() => {})
  await build()
  await step('setup of the tests', () => ready)
  await lint()
  await sideBySide(
    step('builds with faults', buildWithFaults),
    step('tests of the kernels', () => cargoTest([...KERNELS, '--package', 'ruvector-attention-oracle']))
  )
  await step('tests of the build tool', () => cargoTest(['--package', 'xtask', '--profile', 'xtask']))
  await step('tests of the package on both backends', () => ava())
  await avaAtLowerLevels()
  await step('tests in the browser', () => browser())
  await step('the accuracy of 8 bits in the browser', () => browser('accuracy'))
  await step('tests of the explorer', testExplorer)
  await step('tests of the packed package in its consumers', () => consumers(...(all ? [] : ['--core'])))
  await step('publint', () => runNpm('publint', '--strict'))
}

/**
 * Runs `npm test` with every consumer, the tests with checks, with the sanitizer and for AArch64, the accuracy of whole
 * models in Node and in the browser, a model of 3 GB in the browser, five minutes each of the fuzzer and the soak of
 * calls, and two minutes of the soak of dropped objects.
 */
async function testAll() {
  await test({ all: true })
  await testChecked()
  await testSanitize()
  await testNeon()
  const thorough = ['minilm-types', 'smollm2'].map((name) => `__test__/node/${name}.spec.js`)
  const env = { RUVECTOR_ATTENTION_THOROUGH: '1' }
  await step('the accuracy of whole models', () => ava(thorough, env))
  await step('the accuracy of whole models in the browser', () => browser('accuracy', env))
  await step('a model of 3 GB in the browser', () => browser('weights'))
  const script = (/** @type {string} */ name, /** @type {string[]} */ ...args) =>
    step([name, ...args].join(' '), () => run(process.execPath, [`scripts/${name}.mjs`, ...args]))
  await script('fuzz', '--seconds', '300')
  await script('soak', '--seconds', '300')
  await script('soak', '--program', 'objects', '--seconds', '60')
}

/** Runs the checks and specs of the JavaScript, on existing builds. */
async function testScripts() {
  await installExplorer()
  await lintScripts()
  await step('builds with faults', buildWithFaults)
  await step('tests of the package on both backends', () => ava())
}

/** Runs the specs on WebAssembly only, on existing builds, in Node and in the browser. */
async function testWasm() {
  const env = { RUVECTOR_ATTENTION_BACKEND: 'wasm' }
  await step('tests of the package on WebAssembly', () => ava(['__test__/everywhere/**'], env))
  await step('tests in the browser', () => browser())
}

// ── Programs ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * @param {string} program  a script of the repository, to run after the builds
 * @param {readonly string[]} [args]
 */
const buildAndRun =
  (program, args = process.argv.slice(3)) =>
  async () => {
    await step('setup', () => setup())
    await build()
    console.log()
    process.exitCode = await runOnTerminal([program, ...args], root)
  }

/** Runs the example named on the command line. */
async function example() {
  const [name = '', ...args] = process.argv.slice(3)
  // The others are separate projects with a README.
  const names = readdirSync(join(root, 'examples')).filter((name) =>
    existsSync(join(root, 'examples', name, 'index.js'))
  )
  if (!names.includes(name)) throw new Failure(`usage: npm run example -- ${names.join(' | ')}`)
  await buildAndRun(`examples/${name}/index.js`, args)()
}

/** Builds everything and serves the explorer; Vite prints its address, and reloads it on changes. */
async function serveExplorer() {
  await step('setup', () => setup())
  await build()
  await step("the explorer's packages", installExplorer)
  const vite = npmProgram('vite', 'vite', explorer)
  process.exitCode = await runOnTerminal([vite, ...process.argv.slice(3)], explorer)
}

/** @type {Record<string, () => Promise<void>>} */
const commands = {
  setup: async () => {
    await setup({ tests: true })
    await setupTests()
  },
  build: async () => {
    const isForDevelopment = isDevelopmentGiven()
    await setup()
    await build(isForDevelopment)
  },
  'build:native': async () => {
    await setup()
    await buildNative(targetGiven())
  },
  'build:wasm': async () => {
    await setup()
    await buildWasm()
  },
  lint: async () => {
    await installExplorer()
    await lint()
  },
  docs: async () => {
    await setup()
    await buildDocs()
  },
  format,
  test: () => counted(test),
  'test:all': () => counted(testAll),
  'test:checked': () => counted(testChecked),
  'test:sanitize': () => counted(testSanitize),
  'test:neon': () => counted(testNeon),
  'test:js': () => counted(testScripts),
  'test:wasm': () => counted(testWasm),
  'test:consumers': async () => {
    await setup()
    await setupTests({ consumers: true })
    await build()
    await step('the packed package in its consumers', () => consumers(...process.argv.slice(3)))
  },
  size: printSizes,
  start: buildAndRun('examples/minilm-heads/index.js'),
  example,
  explorer: serveExplorer,
  bench: buildAndRun('benchmark/run.js'),
  fuzz: buildAndRun('scripts/fuzz.mjs'),
  soak: buildAndRun('scripts/soak.mjs')
}

/**
 * Prints an expected failure, and sets the exit code.
 *
 * @param {unknown} error
 */
function report(error) {
  if (!(error instanceof Failure)) throw error
  console.error(`\n${error.message}`)
  process.exitCode = 1
}

try {
  const command = commands[process.argv[2]]
  if (!command) throw new Failure(`usage: node scripts/run.mjs ${Object.keys(commands).join(' | ')}`)
  await command()
} catch (error) {
  report(error)
}
