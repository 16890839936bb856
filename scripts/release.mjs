// `npm run release -- VERSION`: builds, tests, packs and checks a release in a copy of the repository, rehearses it
// with a local registry and, only with --publish, publishes it. With --prepare it only sets the version in the
// repository.

import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { platformTriple } from '../lib/loaders/platform.js'
import { publishedExports } from '../tools/release/manifest.mjs'
import { platforms } from '../tools/release/platforms.mjs'
import { stateOnNpm } from '../tools/release/registry.mjs'
import { rehearse } from './release/rehearse.mjs'
import { writeBills } from './release/sbom.mjs'
import { withAbsoluteLinks } from '../tools/release/readme.mjs'
import { platformFaults, rootFaults } from '../tools/release/tarball.mjs'
import { installReleaseTools, toolProgram } from './release/tools.mjs'
import { setup } from './setup.mjs'
import {
  changelogEntry,
  filesBehind,
  isPrerelease,
  isVersion,
  setVersions,
  withEntry
} from '../tools/release/versions.mjs'
import { Failure, npmProgram, query, root, run, step } from '../tools/shell.mjs'

const USAGE = `Usage: npm run release -- VERSION [options]

Builds, tests, packs and checks a release in output/release, and rehearses it on a registry of this machine. Nothing is published
and no file of the repository changes, unless one of these is given:

  --dry-run            publish nothing, which is what happens unless --publish is given
  --prepare            set the version everywhere, and make what is unreleased its entry in the changelog; nothing more
  --publish            publish, the platforms' packages first; the repository has to be clean and prepared

  --skip-build         take what is in packages/
  --skip-tests         do not run \`npm test\`
  --skip-crate         do not check the crate with cargo
  --skip-rehearsal     do not rehearse
  --platforms LIST     such as linux-x64-gnu,darwin-arm64; otherwise those that are built or, to publish, all
  --tag TAG            the tag under which npm finds it; otherwise latest, and next for a version such as 1.0.0-rc.1
  --help               show this text
`

/** @typedef {import('../tools/release/platforms.mjs').Platform} Platform */
/** @typedef {{ file: string, name: string, triple?: string }} Packed */

const output = join(root, 'output', 'release')
const tree = join(output, 'tree')
const tarballs = join(output, 'packages')

function commandLine() {
  const flag = /** @type {const} */ ({ type: 'boolean', default: false })
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      prepare: flag,
      publish: flag,
      'dry-run': flag,
      'skip-build': flag,
      'skip-tests': flag,
      'skip-crate': flag,
      'skip-rehearsal': flag,
      platforms: { type: 'string' },
      tag: { type: 'string' },
      help: flag
    }
  })
  const [version = ''] = positionals
  if (values.help) return undefined
  if (positionals.length !== 1 || !isVersion(version)) {
    throw new Failure(
      `expected one version such as 1.2.3 or 1.2.3-rc.1, got ${positionals.join(' ') || 'none'}\n\n${USAGE}`
    )
  }
  if (values.publish && values['dry-run']) throw new Failure('either --publish or --dry-run')
  return { ...values, version, tag: values.tag ?? (isPrerelease(version) ? 'next' : 'latest') }
}

/** @typedef {NonNullable<ReturnType<typeof commandLine>>} Options */

// ── The repository and its copy ──────────────────────────────────────────────────────────────────────────────────────

/**
 * Sets the version, and creates its changelog entry.
 *
 * @param {string} folder
 * @param {string} version
 */
function prepare(folder, version) {
  const changed = setVersions(folder, version)
  const path = join(folder, 'CHANGELOG.md')
  const before = readFileSync(path, 'utf8')
  const after = withEntry(before, version, new Date().toISOString().slice(0, 10))
  if (!changelogEntry(after, version))
    throw new Failure(`CHANGELOG.md has no entry for ${version}, and nothing unreleased`)
  if (after === before) return changed
  writeFileSync(path, after)
  return [...changed, 'CHANGELOG.md']
}

/** Refuses to publish uncommitted changes. @param {string} version */
function checkPrepared(version) {
  const behind = filesBehind(root, version)
  const remedy = `run \`npm run release -- ${version} --prepare\` and commit`
  if (behind.length > 0) throw new Failure(`another version is in ${behind.join(', ')}: ${remedy}`)
  if (!changelogEntry(readFileSync(join(root, 'CHANGELOG.md'), 'utf8'), version)) {
    throw new Failure(`CHANGELOG.md has no entry for ${version}: ${remedy}`)
  }
  const status = query('git', ['status', '--porcelain', '--untracked-files=no'])
  if (status !== '') throw new Failure(`the repository has changes that are not committed:\n${status}`)
}

/** Copies the files that git tracks; builds of an earlier copy stay, so that cargo can reuse them. */
function copyTree() {
  mkdirSync(tree, { recursive: true })
  for (const name of readdirSync(tree))
    if (name !== 'target') rmSync(join(tree, name), { recursive: true, force: true })
  const files = query('git', ['ls-files', '-z'])?.split('\0').filter(Boolean)
  if (!files) throw new Failure('git does not list the files of the repository')
  for (const file of files) if (existsSync(join(root, file))) copy(join(root, file), join(tree, file))
  symlinkSync(join(root, 'node_modules'), join(tree, 'node_modules'), 'junction')
  symlinkSync(
    join(root, 'scripts', 'release', 'node_modules'),
    join(tree, 'scripts', 'release', 'node_modules'),
    'junction'
  )
}

/**
 * @param {string} from
 * @param {string} to
 */
function copy(from, to) {
  mkdirSync(dirname(to), { recursive: true })
  cpSync(from, to, { recursive: true, preserveTimestamps: true })
}

/** Runs a module in the copy, with its version. @param {string} program */
const runInCopy = (program) => run(process.execPath, ['--input-type=module', '-e', program], { cwd: tree })

/** Builds for this machine in the copy. */
async function build() {
  const target = platforms.find((one) => one.triple === platformTriple())?.target
  await runInCopy(`import { buildNative, buildWasm } from './scripts/build.mjs'
await buildNative(${JSON.stringify(target)})
await buildWasm()`)
}

/** Copies builds made here or, for other platforms, elsewhere. The build for Node is made from the sources again. */
async function takeBuilds() {
  for (const name of ['native', 'wasm']) copy(join(root, 'packages', name), join(tree, 'packages', name))
  await runInCopy(`import { buildCommonJs } from './scripts/build.mjs'
await buildCommonJs()`)
}

// ── Packages ─────────────────────────────────────────────────────────────────────────────────────────────────────────

const addonOf = (/** @type {Platform} */ { file }) => join(tree, 'packages', 'native', file)

/**
 * The platforms of this release.
 *
 * @param {Options} options
 */
function choosePlatforms({ platforms: list, publish }) {
  const names = list?.split(',')
  const unknown = names?.filter((name) => !platforms.some(({ triple }) => triple === name)) ?? []
  if (unknown.length > 0) throw new Failure(`no platform is called ${unknown.join(', ')}`)
  const wanted = names ? platforms.filter(({ triple }) => names.includes(triple)) : platforms
  const missing = wanted.filter((platform) => !existsSync(addonOf(platform)))
  if ((publish || names) && missing.length > 0) {
    throw new Failure(`packages/native lacks ${missing.map(({ file }) => file).join(', ')}`)
  }
  if (missing.length > 0) console.log(`not built here, and left out: ${missing.map(({ triple }) => triple).join(', ')}`)
  return wanted.filter((platform) => !missing.includes(platform))
}

/**
 * Writes the published manifest: it adds the platforms' packages, which a clone must not request before they exist,
 * omits entries that only a clone uses, and names the files that Node imports. Makes the links of the README absolute,
 * as required on npm's page.
 *
 * @param {string} version
 * @param {readonly Platform[]} chosen
 */
function writeRootManifest(version, chosen) {
  const path = join(tree, 'package.json')
  const { scripts: _scripts, devDependencies: _dev, napi: _napi, ...manifest } = JSON.parse(readFileSync(path, 'utf8'))
  manifest.exports = publishedExports(manifest.exports)
  manifest.optionalDependencies = Object.fromEntries(chosen.map(({ name }) => [name, version]))
  writeFileSync(path, `${JSON.stringify(manifest, undefined, 2)}\n`)
  const readme = join(tree, 'README.md')
  writeFileSync(readme, withAbsoluteLinks(readFileSync(readme, 'utf8'), manifest.repository))
}

/**
 * @param {string} folder  within the copy
 * @returns {string} the tarball
 */
function packFolder(folder) {
  const text = query('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', tarballs], {
    cwd: join(tree, folder)
  })
  if (!text) throw new Failure(`npm could not pack ${folder}`)
  return join(tarballs, JSON.parse(text)[0].filename)
}

/**
 * @param {string} version
 * @param {readonly Platform[]} chosen
 * @returns {Packed[]} in publishing order: the root last, so that nobody can install it before its addons
 */
function pack(version, chosen) {
  rmSync(tarballs, { recursive: true, force: true })
  mkdirSync(tarballs)
  const packed = chosen.map((platform) => {
    const folder = join(tree, platform.folder)
    copy(addonOf(platform), join(folder, platform.file))
    for (const name of ['LICENSE-APACHE', 'LICENSE-MIT']) copy(join(tree, name), join(folder, name))
    return { file: packFolder(platform.folder), name: platform.name, triple: platform.triple }
  })
  writeRootManifest(version, chosen)
  return [...packed, { file: packFolder('.'), name: '@ruvector/attention' }]
}

/**
 * @param {readonly Packed[]} packed
 * @param {string} version
 * @param {readonly Platform[]} chosen
 */
function checkTarballs(packed, version, chosen) {
  const faults = packed.flatMap(({ file, triple }) => {
    const tarball = readFileSync(file)
    const platform = chosen.find((one) => one.triple === triple)
    console.log(`${basename(file)}  ${(tarball.length / 1000).toFixed(0)} kB`)
    const found = platform ? platformFaults(tarball, version, platform) : rootFaults(tarball, version, chosen)
    return found.map((fault) => `${basename(file)} ${fault}`)
  })
  if (faults.length > 0) throw new Failure(faults.join('\n'))
}

/** Checks the published types and entries with third-party tools. @param {string} file */
async function checkForConsumers(file) {
  await run(process.execPath, [npmProgram('publint'), file, '--strict'])
  // The package is a module, which `require` supports from Node 20.19 on; results for older resolutions do not count.
  await run(process.execPath, [
    toolProgram('@arethetypeswrong/cli', 'attw'),
    file,
    '--profile',
    'esm-only',
    '--exclude-entrypoints',
    'attention.simd.wasm',
    'attention.relaxed.patch',
    'attention.core.simd.wasm',
    'attention.core.relaxed.patch',
    'attention.training.simd.wasm',
    'attention.training.relaxed.patch'
  ])
}

// ── Publishing ───────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Selects the packages to publish, so that an interrupted release can be resumed. Packages that cannot be published are
 * reported; with --publish, nothing is published then.
 *
 * @param {readonly Packed[]} packed
 * @param {Options} options
 */
function choosePackages(packed, { version, tag, publish }) {
  const states = packed.map((one) => ({ one, ...stateOnNpm(one, version, tag) }))
  const conflicts = states.flatMap(({ conflict }) => conflict ?? [])
  if (publish && conflicts.length > 0) throw new Failure(conflicts.join('\n'))
  for (const conflict of conflicts) console.log(`could not be published: ${conflict}`)
  for (const { one, isPublished } of states) if (isPublished) console.log(`${one.name}@${version} is published already`)
  return states.filter(({ isPublished }) => !isPublished).map(({ one }) => one)
}

/**
 * @param {readonly Packed[]} packed
 * @param {string} tag
 */
async function publish(packed, tag) {
  // Only a builder that the registry trusts can attest where a package was built.
  const provenance = process.env.GITHUB_ACTIONS ? ['--provenance'] : []
  for (const { file } of packed) await run('npm', ['publish', file, '--access', 'public', '--tag', tag, ...provenance])
}

/** @param {Options} options */
async function release(options) {
  const { version, tag } = options
  if (options.publish) checkPrepared(version)
  await step('setup', () => setup())
  await step('tools', installReleaseTools)
  await step('copy', async () => {
    copyTree()
    prepare(tree, version)
    writeFileSync(
      join(output, 'notes.md'),
      `${changelogEntry(readFileSync(join(tree, 'CHANGELOG.md'), 'utf8'), version)}\n`
    )
    // Before the tests, which build only for this machine.
    if (options['skip-build']) await takeBuilds()
  })
  // Fast checks run first.
  if (!options['skip-build']) await step('build', build)
  if (!options['skip-tests']) await step('tests', () => run('npm', ['test']))
  const chosen = choosePlatforms(options)
  if (!options['skip-crate']) {
    const args = ['publish', '--dry-run', '--locked', '--allow-dirty', '--package', 'ruvector-attention']
    await step('crate', () => run('cargo', args, { cwd: tree }))
  }
  await step('bills of materials', () => writeBills(tree, output))
  const packed = await step('packages', () => pack(version, chosen))
  await step('contents', () => checkTarballs(packed, version, chosen))
  await step('publint and types', () => checkForConsumers(packed[packed.length - 1].file))
  const toPublish = await step('what is published', () => choosePackages(packed, options))
  if (!options['skip-rehearsal']) await step('rehearsal', () => rehearse(packed, version, tag))
  if (options.publish) await step('publish', () => publish(toPublish, tag))
  else console.log(`\n${version} is ready in output/release; nothing was published`)
}

try {
  const options = commandLine()
  if (!options) console.log(USAGE)
  else if (options.prepare) console.log(prepare(root, options.version).join('\n') || 'all is prepared')
  else await release(options)
} catch (error) {
  if (!(error instanceof Failure || (error instanceof TypeError && 'code' in error))) throw error
  console.error(`\n${error.message}`)
  process.exitCode = 1
}
