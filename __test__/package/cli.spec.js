// The command line, run as separate processes: output and exit codes.
import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { loadBackend, loadSafetensors, saveSafetensors, version } from '@ruvector/attention'
import { findFits } from '../../lib/cli/fits.js'
import { PUBLISHED } from '../../lib/cli/platforms.js'
import { selfCheck } from '../../lib/cli/self-check.js'
import { platformTriple } from '../../lib/loaders/platform.js'
import { cases, weights } from '../support/families.js'
import { normal } from '../support/tensors.js'

const root = fileURLToPath(new URL('../../', import.meta.url))
const attention = await loadBackend('native')

/**
 * Runs the command line.
 *
 * @param {readonly string[]} args
 * @param {{ env?: Record<string, string>, folder?: string, flags?: readonly string[] }} [how]
 * @returns {Promise<{ code: number, stdout: string, stderr: string }>}
 */
function run(args, { env = {}, folder = root, flags = [] } = {}) {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('RUVECTOR_'))
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [...flags, join(folder, 'lib/cli/index.js'), ...args],
      { cwd: root, env: { ...Object.fromEntries(inherited), ...env }, maxBuffer: 2 ** 26 },
      (error, stdout, stderr) => resolve({ code: Number(error?.code ?? 0), stdout, stderr })
    )
  })
}

/** @param {import('ava').ExecutionContext} t */
function scratch(t) {
  const folder = mkdtempSync(join(tmpdir(), 'attention-cli-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/**
 * A copy of the package as npm installs it, or parts of it.
 *
 * @param {import('ava').ExecutionContext} t
 * @param {readonly string[]} parts
 */
function copyOf(t, parts) {
  const folder = scratch(t)
  for (const part of ['package.json', 'index.js', 'lib', ...parts]) {
    mkdirSync(join(folder, part, '..'), { recursive: true })
    cpSync(join(root, part), join(folder, part), { recursive: true })
  }
  return folder
}

// ── The program ──────────────────────────────────────────────────────────────────────────────────────────────────────

test('every command has help, and a wrong command line exits with 2', async (t) => {
  const { code, stdout } = await run([])
  t.is(code, 0)
  for (const command of ['bench', 'doctor', 'inspect']) {
    t.true(stdout.includes(`\n  ${command.padEnd(9)}`), command)
    const help = await run([command, '--help'])
    t.is(help.code, 0)
    t.true(help.stdout.startsWith(`Usage: npx @ruvector/attention ${command}`))
    const wrong = await run([command, '--no-such-option'])
    t.deepEqual([wrong.code, wrong.stdout], [2, ''])
    t.is(wrong.stderr, "Unknown option '--no-such-option'\nTry --help.\n")
  }
  for (const args of [['cure'], ['doctor', 'file'], ['inspect'], ['inspect', 'a', 'b'], ['inspect', '--json']]) {
    const { code, stdout, stderr } = await run(args)
    t.deepEqual([code, stdout], [2, ''], args.join(' '))
    t.not(stderr, '')
  }
})

test('version and help work in every usual form, and a misspelled command gets a suggestion', async (t) => {
  for (const flag of ['--version', '-v'])
    t.deepEqual(await run([flag]), { code: 0, stdout: `${version}\n`, stderr: '' })
  const { stdout: usage } = await run([])
  for (const args of [['--help'], ['-h'], ['help']])
    t.deepEqual(await run(args), { code: 0, stdout: usage, stderr: '' })
  t.deepEqual(await run(['help', 'doctor']), await run(['doctor', '--help']))
  for (const [name, meant] of [
    ['docter', '; did you mean doctor?'],
    ['Bench', '; did you mean bench?'],
    ['cure', '']
  ]) {
    const { code, stderr } = await run([name])
    t.is(code, 2)
    t.is(stderr, `unknown command: ${name}${meant}\n\n${usage}`)
  }
})

// ── doctor ───────────────────────────────────────────────────────────────────────────────────────────────────────────

test('if both backends run, the doctor reports them with their numbers, and exits with 0', async (t) => {
  const { code, stdout } = await run(['doctor', '--json'])
  t.is(code, 0)
  const found = JSON.parse(stdout)
  t.like(found, {
    version,
    platform: process.platform,
    arch: process.arch,
    triple: platformTriple(),
    runtime: { name: 'Node', version: process.versions.node },
    environment: {},
    runs: 'native',
    problem: null
  })
  const { simd, threads } = attention.backend()
  const wasm = (await loadBackend('wasm')).backend()
  t.like(found.backends[0], { kind: 'native', runs: true, simd, threads, rejected: [], check: { passed: true } })
  t.like(found.backends[1], { kind: 'wasm', runs: true, simd: wasm.simd, threads: wasm.threads, rejected: [] })
  for (const { check } of found.backends) t.true(check.difference > 0 && check.difference < 1e-5)

  const { stdout: text } = await run(['doctor'])
  t.true(
    text.startsWith(
      `@ruvector/attention ${version}, Node ${process.versions.node}, ${process.platform} ${process.arch}`
    )
  )
  t.regex(text, new RegExp(`✔ native  ${simd}, ${threads} threads?; matches plain JavaScript to \\de-\\d`))
  t.true(text.endsWith('Programs use the native backend.\n'))
})

test('if native code does not load, the doctor reports the reason and the fix, and still exits with 0', async (t) => {
  const env = { RUVECTOR_ATTENTION_NATIVE_PATH: '/no/such/addon.node' }
  const { code, stdout } = await run(['doctor'], { env })
  t.is(code, 0)
  t.regex(stdout, /✘ native {2}does not run\n {4}\/no\/such\/addon\.node: Cannot find module/)
  t.regex(stdout, /To fix it: unset RUVECTOR_ATTENTION_NATIVE_PATH/)
  t.regex(stdout, /Programs use WebAssembly because the native backend does not run/)

  const installed = await run(['doctor', '--json'], { folder: copyOf(t, ['packages/wasm']) })
  t.is(installed.code, 0)
  const { runs, backends } = JSON.parse(installed.stdout)
  t.is(runs, 'wasm')
  t.is(backends[0].remedy, `npm install @ruvector/attention-${platformTriple()}@${version}`)
  t.deepEqual(
    backends[0].rejected.map((/** @type {any} */ { candidate }) => candidate),
    [`packages/native/attention.${platformTriple()}.node`, `@ruvector/attention-${platformTriple()}`]
  )
})

test('if an addon loads but its first call fails, the doctor reports it and the fix', async (t) => {
  const broken = join(scratch(t), 'broken.cjs')
  writeFileSync(broken, `module.exports = { version: () => '${version}', simdLevel: () => 'portable' }`)
  const { code, stdout } = await run(['doctor', '--json'], { env: { RUVECTOR_ATTENTION_NATIVE_PATH: broken } })
  const { runs, backends } = JSON.parse(stdout)
  t.is(code, 1)
  t.is(runs, null)
  t.deepEqual(
    backends.map((/** @type {any} */ backend) => backend.runs),
    [false, true]
  )
  t.is(backends[0].rejected[0].candidate, 'first call')
  t.regex(backends[0].remedy, /^unset RUVECTOR_ATTENTION_NATIVE_PATH/)
})

test('if programs have no backend, the doctor exits with 1', async (t) => {
  const missing = { RUVECTOR_ATTENTION_NATIVE_PATH: '/no/such/addon.node', RUVECTOR_ATTENTION_BACKEND: 'native' }
  for (const env of [missing, { RUVECTOR_ATTENTION_BACKEND: 'gpu' }]) {
    const { code, stdout } = await run(['doctor'], { env })
    t.is(code, 1)
    t.regex(stdout, /\nPrograms have no backend: /)
  }
  // Without the modules, and without their JavaScript.
  const glue = ['packages/wasm/attention.js', 'packages/wasm/attention.worker.js']
  for (const [parts, problem] of /** @type {const} */ ([
    [glue, /^no backend could be loaded/],
    [[], /^the package is incomplete: /]
  ])) {
    const { code, stdout } = await run(['doctor', '--json'], { folder: copyOf(t, parts) })
    t.is(code, 1)
    const found = JSON.parse(stdout)
    t.is(found.runs, null)
    t.regex(found.problem, problem)
    t.is(found.remedy ?? found.backends[1].remedy, `npm install @ruvector/attention@${version}`)
  }
})

test('the doctor distinguishes right numbers from wrong ones', (t) => {
  t.true(selfCheck(attention).passed)
  const spoiled = (/** @type {number} */ value) =>
    selfCheck({
      scaledDotProductAttention(/** @type {[any, any, any, any?]} */ ...call) {
        const result = /** @type {any} */ (attention.scaledDotProductAttention(...call))
        result.output.data[7] += value
        return result
      }
    })
  t.false(spoiled(1e-4).passed)
  t.false(spoiled(NaN).passed)
})

test('the doctor recommends packages exactly for the published platforms', (t) => {
  const { napi } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const parts = (/** @type {string} */ target) => {
    const [cpu, , os, libc] = target.split('-')
    const platform = /** @type {Record<string, string>} */ ({ windows: 'win32', darwin: 'darwin' })[os] ?? os
    const arch = cpu === 'x86_64' ? 'x64' : 'arm64'
    return [platform, arch, libc].filter(Boolean).join('-')
  }
  t.deepEqual(PUBLISHED.toSorted(), napi.targets.map(parts).toSorted())
})

// ── inspect ──────────────────────────────────────────────────────────────────────────────────────────────────────────

test('the inspection lists every tensor of a file and its metadata, with totals', async (t) => {
  const file = 'examples/minilm-heads/layer0.safetensors'
  const { code, stdout } = await run(['inspect', file, '--json'])
  t.is(code, 0)
  const found = JSON.parse(stdout)
  const state = loadSafetensors(readFileSync(join(root, file)))
  t.deepEqual(
    found.tensors.map((/** @type {any} */ { name, shape, dtype, bytes }) => [name, shape, dtype, bytes]),
    Object.entries(state).map(([name, { shape, data }]) => [name, shape, 'F32', 4 * data.length])
  )
  t.is(
    found.parameters,
    Object.values(state).reduce((sum, { data }) => sum + data.length, 0)
  )
  t.is(found.bytes, readFileSync(join(root, file)).length)
  t.regex(found.metadata.description, /all-MiniLM-L6-v2/)
  t.deepEqual(found.fits, [
    {
      layer: 'MultiHeadAttention, SelfAttention, CrossAttention',
      naming: 'BERT',
      prefix: 'encoder.layer.0.attention',
      config: { modelDim: 384, 'numHeads · headDim': 384, useBias: true }
    }
  ])

  const { stdout: text } = await run(['inspect', file])
  t.true(text.startsWith('layer0.safetensors: 11 tensors, 606,720 parameters, 2.4 MB\n'))
  t.regex(text, /\n {2}reference\.weights +\[1, 12, 16, 16\] {2}F32 {3}12 KB\n/)
  t.true(text.endsWith('layer.loadStateDict(loadSafetensors(bytes, { prefix: "encoder.layer.0.attention" }))\n'))
})

/**
 * Constructs the layer that a fit names. Files do not record heads, so their number is the minimum.
 *
 * @param {any} fit
 * @returns {import('@ruvector/attention').Layer}
 */
function layerOf({ layer, config }) {
  const {
    'numHeads · headDim': q,
    'kvHeads · headDim': kv = q,
    'numHeads · outFeatures': outFeatures,
    ...sizes
  } = config
  if (layer.includes('MultiHeadAttention')) {
    /** @type {(a: number, b: number) => number} */
    const divisor = (a, b) => (b === 0 ? a : divisor(b, a % b))
    const headDim = divisor(q, kv)
    return new attention.MultiHeadAttention({ ...sizes, numHeads: q / headDim, kvHeads: kv / headDim, headDim })
  }
  if (layer === 'TransformerEncoderLayer') return new attention.TransformerEncoderLayer({ ...sizes, numHeads: 1 })
  return new /** @type {any} */ (attention)[layer](outFeatures ? { ...sizes, outFeatures, numHeads: 1 } : sizes)
}

for (const [file, least] of /** @type {const} */ ([
  ['__test__/golden/torch-layers.safetensors', 10],
  ['__test__/golden/torch-encoder.safetensors', 10],
  ['__test__/golden/torch-geometric.safetensors', 50],
  ['examples/karate/karate.safetensors', 2]
])) {
  test(`${file}: ${file}: every layer of the references is found, and loads the tensors under its prefix`, async (t) => {
    const { code, stdout } = await run(['inspect', file, '--json'])
    t.is(code, 0)
    const { fits, tensors } = JSON.parse(stdout)
    const bytes = readFileSync(join(root, file))
    t.true(fits.length >= least, `${fits.length}`)
    for (const fit of fits) {
      // Shapes do not tell the two weights of two node sets from one weight under two names.
      const { inFeatures } = fit.config
      if (/^HeteroConv.*written_by$/.test(fit.prefix)) fit.config.inFeatures = [inFeatures, inFeatures].flat().slice(-2)
      t.notThrows(
        () =>
          layerOf(fit)
            .loadStateDict(loadSafetensors(bytes, { prefix: fit.prefix }))
            .dispose(),
        JSON.stringify(fit)
      )
    }
    // A parameter that no fit covers belongs to a layer that was missed.
    const isState = (/** @type {string} */ name) => /\/state\.|^conv\d\./.test(name)
    const missed = tensors
      .map((/** @type {any} */ { name }) => name)
      .filter(
        (/** @type {string} */ name) =>
          isState(name) && !fits.some((/** @type {any} */ { prefix }) => name.startsWith(`${prefix}.`))
      )
    t.deepEqual(missed, [])
  })
}

/** @type {(names: Record<string, number[]>, dtype?: string) => { name: string, shape: number[], dtype: string }[]} */
const entries = (names, dtype = 'F32') => Object.entries(names).map(([name, shape]) => ({ name, shape, dtype }))

test('attention of Llama and Whisper is found with fewer key heads, and norms by their parameters', (t) => {
  const llama = {
    'q_proj.weight': [64, 32],
    'k_proj.weight': [16, 32],
    'v_proj.weight': [16, 32],
    'o_proj.weight': [32, 64]
  }
  const under = (/** @type {string} */ prefix, /** @type {Record<string, number[]>} */ names) =>
    Object.fromEntries(Object.entries(names).map(([name, shape]) => [`${prefix}.${name}`, shape]))
  const block = under('model.layers.0', {
    ...under('self_attn', llama),
    'input_layernorm.weight': [32],
    'mlp.up_proj.weight': [64, 32]
  })
  t.deepEqual(
    findFits(entries(block, 'BF16')).map(({ layer, naming, prefix, config }) => [
      layer.split(',')[0],
      naming,
      prefix,
      config
    ]),
    [
      ['rmsNorm', 'weight', 'model.layers.0.input_layernorm', { size: 32 }],
      [
        'MultiHeadAttention',
        'Llama',
        'model.layers.0.self_attn',
        { modelDim: 32, 'numHeads · headDim': 64, 'kvHeads · headDim': 16, useBias: false }
      ]
    ]
  )
  const whisper = {
    'q_proj.weight': [8, 8],
    'q_proj.bias': [8],
    'k_proj.weight': [8, 8],
    'v_proj.weight': [8, 8],
    'v_proj.bias': [8],
    'out_proj.weight': [8, 8],
    'out_proj.bias': [8]
  }
  t.like(findFits(entries(whisper))[0], { naming: 'Whisper', prefix: '', config: { modelDim: 8, useBias: true } })
  t.deepEqual(
    findFits(entries({ 'norm.weight': [4], 'norm.bias': [4], 'ln_f.gamma': [4], 'ln_f.beta': [4] })).map(
      ({ layer, prefix }) => [layer, prefix]
    ),
    [
      ['layerNorm', 'ln_f'],
      ['layerNorm', 'norm']
    ]
  )
})

test('layers of every family of models are found under their prefixes', (t) => {
  for (const [family, tensors] of Object.entries(weights)) {
    const fits = findFits(
      Object.entries(tensors).map(([name, { shape }]) => ({ name, shape: [...shape], dtype: 'F32' }))
    )
    for (const { layer, prefix, config } of cases.filter((module) => module.family === family)) {
      // The linear attention of Qwen3-Next and latent attention have no other names than their own.
      if (layer === 'GatedDeltaNet' || layer === 'LatentAttention') continue
      const fit = fits.find((found) => `${prefix}.`.startsWith(`${found.prefix}.`))
      t.truthy(fit, `${family} ${prefix}`)
      // Parts of a block are not listed.
      if (fit === undefined || fit.prefix !== prefix) continue
      t.true(fit.layer.includes(layer), `${family} ${prefix}: ${fit.layer}`)
      t.like(fit.config, { modelDim: config.modelDim, ...(config.gated && { gated: true }) })
    }
  }
})

test('a layer does not fit tensors it would reject: an extra tensor, a wrong shape, integers, half of the biases', (t) => {
  const llama = {
    'a.q_proj.weight': [8, 8],
    'a.k_proj.weight': [8, 8],
    'a.v_proj.weight': [8, 8],
    'a.o_proj.weight': [8, 8]
  }
  t.is(findFits(entries(llama)).length, 1)
  t.deepEqual(findFits(entries({ ...llama, 'a.bias_k': [1, 1, 8] })), [])
  t.deepEqual(findFits(entries({ ...llama, 'a.o_proj.weight': [8, 4] })), [])
  t.deepEqual(findFits(entries({ ...llama, 'a.q_proj.bias': [8] })), [])
  t.deepEqual(findFits(entries(llama, 'I8')), [])
  t.deepEqual(findFits(entries({ ...llama, 'a.q_proj.weight': [8] })), [])
  // Tensors outside the prefix do not matter, nor do known buffers and integers.
  t.is(findFits(entries({ ...llama, 'b.bias_k': [1, 1, 8] })).length, 1)
  t.is(findFits(entries({ ...llama, 'a.rotary_emb.inv_freq': [4] })).length, 1)
  t.is(findFits([...entries(llama), ...entries({ 'a.ids': [4] }, 'I64')]).length, 1)
})

test('of a file of many gigabytes, only the header is read', async (t) => {
  const path = join(scratch(t), 'large.safetensors')
  const size = 20 * 2 ** 30
  const header = JSON.stringify({
    'huge.weight': { dtype: 'F32', shape: [size / 2 ** 12, 1024], data_offsets: [0, size] }
  })
  const start = Buffer.alloc(8 + header.length)
  start.writeBigUInt64LE(BigInt(header.length))
  start.write(header, 8)
  writeFileSync(path, start)
  truncateSync(path, start.length + size)
  const { code, stdout, stderr } = await run(['inspect', path, '--json'], { flags: ['--max-old-space-size=100'] })
  t.is(code, 0, stderr)
  t.like(JSON.parse(stdout), { bytes: start.length + size, parameters: size / 4 })
})

test('a missing or broken file exits with 1 and one line that names the problem', async (t) => {
  const folder = scratch(t)
  const whole = saveSafetensors({ a: normal([4, 4], 1) })
  const broken = {
    'empty.safetensors': [new Uint8Array(0), 'the file is truncated: expected 8 bytes, got 0'],
    'text.safetensors': [new TextEncoder().encode('<!doctype html><html>'), 'got an HTML page'],
    'short.safetensors': [whole.subarray(0, 20), 'the file is truncated: expected'],
    'cut.safetensors': [
      whole.subarray(0, whole.length - 4),
      `the file is truncated: expected ${whole.length} bytes, got ${whole.length - 4}`
    ]
  }
  for (const [name, [bytes, words]] of Object.entries(broken)) {
    const path = join(folder, name)
    writeFileSync(path, bytes)
    const { code, stdout, stderr } = await run(['inspect', path])
    t.deepEqual([code, stdout, stderr.trimEnd().split('\n').length], [1, '', 1], name)
    t.true(stderr.startsWith(`${path}: `) && stderr.includes(String(words)), stderr)
  }
  t.is((await run(['inspect', join(folder, 'none')])).stderr, `${join(folder, 'none')}: no such file\n`)
  t.deepEqual((await run(['inspect', folder])).code, 1)
})

test('names and metadata send no control characters to the terminal', async (t) => {
  const path = join(scratch(t), 'names.safetensors')
  writeFileSync(path, saveSafetensors({ 'a\u001b[31m\u0007': normal([1], 1) }, { 'k\u001b[0m': 'v\u001b]0;x\u0007' }))
  const { code, stdout } = await run(['inspect', path])
  t.is(code, 0)
  t.regex(stdout, /a�\[31m�/)
  t.notRegex(stdout, /[^\P{Cc}\n]/u)
})
