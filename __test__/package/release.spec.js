// The decisions of a release: versions, the changelog, and the allowed contents of a tarball.
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import test from 'ava'
import { compareVersions, readBinary } from '../../tools/release/binary.mjs'
import { publishedExports } from '../../tools/release/manifest.mjs'
import { platforms } from '../../tools/release/platforms.mjs'
import { integrityOf, publishedState } from '../../tools/release/registry.mjs'
import { relativeLinks, withAbsoluteLinks } from '../../tools/release/readme.mjs'
import { addonFaults, platformFaults, readTarball, rootFaults } from '../../tools/release/tarball.mjs'
import {
  changelogEntry,
  filesBehind,
  isPrerelease,
  isVersion,
  setVersions,
  withEntry
} from '../../tools/release/versions.mjs'

const root = fileURLToPath(new URL('../../', import.meta.url))
const platform = /** @type {import('../../tools/release/platforms.mjs').Platform} */ (platforms[0])

/**
 * A tarball with one text per file.
 *
 * @param {Record<string, string>} files
 */
function tarball(files) {
  const blocks = Object.entries(files).flatMap(([path, text]) => {
    const header = Buffer.alloc(512)
    header.write(`package/${path}`, 0)
    header.write(Buffer.byteLength(text).toString(8).padStart(11, '0'), 124)
    header.write('0', 156)
    const body = Buffer.alloc(Math.ceil(Buffer.byteLength(text) / 512) * 512)
    body.write(text)
    return [header, body]
  })
  return gzipSync(Buffer.concat([...blocks, Buffer.alloc(1024)]))
}

/**
 * An ELF file with a table of required versions, and optionally a symbol table.
 *
 * @param {{ machine?: number, versions?: string[], symbols?: boolean }} [options]
 */
function elf({ machine = 62, versions = ['GLIBC_2.9', 'GLIBC_2.28'], symbols = false } = {}) {
  const bytes = Buffer.alloc(1024)
  bytes.write('\x7fELF\x02\x01', 'latin1')
  bytes.writeUInt16LE(machine, 18)
  bytes.writeBigUInt64LE(64n, 40)
  bytes.writeUInt16LE(64, 58)
  bytes.writeUInt16LE(3, 60)
  const section = (/** @type {number} */ index, /** @type {number} */ type, /** @type {number} */ offset) => {
    bytes.writeUInt32LE(type, 64 + index * 64 + 4)
    bytes.writeBigUInt64LE(BigInt(offset), 64 + index * 64 + 24)
    bytes.writeUInt32LE(1, 64 + index * 64 + 40)
  }
  section(0, 0x6ffffffe, 300)
  section(1, 3, 600)
  section(2, symbols ? 2 : 0, 0)
  bytes.writeUInt32LE(16, 308)
  let name = 1
  versions.forEach((version, index) => {
    const at = 316 + index * 16
    bytes.writeUInt32LE(name, at + 8)
    bytes.writeUInt32LE(index + 1 < versions.length ? 16 : 0, at + 12)
    bytes.write(`${version}\0`, 600 + name)
    name += version.length + 1
  })
  return bytes
}

test('versions that both npm and cargo accept are versions, others are not', (t) => {
  for (const version of ['0.1.0', '10.20.30', '1.0.0-rc.1', '1.0.0-0a']) t.true(isVersion(version), version)
  for (const text of ['', '1', '1.2', 'v1.2.3', '01.2.3', '1.2.3-01', '1.2.3+build', '1.2.3 '])
    t.false(isVersion(text), text)
  t.true(isPrerelease('1.0.0-rc.1'))
  t.false(isPrerelease('1.0.0'))
})

test('every file of the repository states the same version', (t) => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  t.deepEqual(filesBehind(root, version), [])
})

test('a version is set everywhere, and setting it again changes nothing', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'attention-versions-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const files = filesBehind(root, '7.8.9-rc.1')
  t.is(files.length, 5 + platforms.length)
  for (const file of files) {
    mkdirSync(dirname(join(folder, file)), { recursive: true })
    cpSync(join(root, file), join(folder, file))
  }
  t.deepEqual(setVersions(folder, '7.8.9-rc.1'), files)
  t.deepEqual(setVersions(folder, '7.8.9-rc.1'), [])
  t.deepEqual(filesBehind(folder, '7.8.9-rc.1'), [])
  const lock = readFileSync(join(folder, 'Cargo.lock'), 'utf8')
  t.is(lock.split('version = "7.8.9-rc.1"').length - 1, 6)
  t.is(JSON.parse(readFileSync(join(folder, 'package-lock.json'), 'utf8')).packages[''].version, '7.8.9-rc.1')
})

test('published versions determine which versions can be released', (t) => {
  const release = { name: 'a', version: '1.10.0', tag: 'latest', tarball: Buffer.from('contents') }
  t.deepEqual(publishedState(release, { versions: [] }), { isPublished: false })
  t.deepEqual(publishedState(release, { versions: ['1.9.0', '2.0.0-rc.1'] }), { isPublished: false })
  const [same, other] = ['contents', 'others'].map((text) => integrityOf(Buffer.from(text)))
  t.true(publishedState(release, { versions: ['1.10.0', '3.0.0'], integrity: same }).isPublished)
  t.regex(publishedState(release, { versions: ['1.10.0'], integrity: other }).conflict ?? '', /other contents/)
  t.regex(publishedState(release, { versions: ['1.10.0'], integrity: undefined }).conflict ?? '', /other contents/)
  t.regex(
    publishedState(release, { versions: ['0.1.0', '2.2.2'] }).conflict ?? '',
    /a@2\.2\.2 is published, and higher/
  )
  t.deepEqual(publishedState({ ...release, tag: 'next' }, { versions: ['2.2.2'] }), { isPublished: false })
})

test('the unreleased changes become the entry of a version exactly once', (t) => {
  const before = '# Changelog\n\n## [Unreleased]\n\n### Added\n\n- A thing.\n\n## [0.1.0] - 2026-01-01\n\n- All.\n'
  const after = withEntry(before, '0.2.0', '2026-02-03')
  t.is(changelogEntry(after, '0.2.0'), '### Added\n\n- A thing.')
  t.is(changelogEntry(after, '0.1.0'), '- All.')
  t.is(changelogEntry(after, 'Unreleased'), undefined)
  t.true(after.includes('## [0.2.0] - 2026-02-03'))
  t.is(withEntry(after, '0.2.0', '2026-02-04'), after)
  t.is(changelogEntry(withEntry(after, '0.3.0', '2026-02-04'), '0.3.0'), undefined)
})

test('every platform has its package, under the name that the loader uses', (t) => {
  t.deepEqual(
    platforms.map(({ target }) => target),
    [
      'x86_64-unknown-linux-gnu',
      'x86_64-unknown-linux-musl',
      'aarch64-unknown-linux-gnu',
      'aarch64-unknown-linux-musl',
      'x86_64-apple-darwin',
      'aarch64-apple-darwin',
      'x86_64-pc-windows-msvc',
      'aarch64-pc-windows-msvc'
    ]
  )
  for (const { folder, name, file, triple } of platforms) {
    const manifest = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'))
    const [system, machine, abi] = triple.split('-')
    t.is(manifest.name, name)
    t.is(manifest.main, file)
    t.deepEqual([manifest.os, manifest.cpu], [[system], [machine]])
    t.deepEqual(manifest.libc, system === 'linux' ? [abi === 'gnu' ? 'glibc' : 'musl'] : undefined)
  }
})

test('the machine, glibc and symbols of an addon are read from its file', (t) => {
  t.deepEqual(readBinary(elf()), {
    system: 'linux',
    machine: 'x64',
    libraries: [],
    glibc: ['2.9', '2.28'],
    hasSymbols: false
  })
  t.is(readBinary(Buffer.from('no addon')), undefined)
  t.true(compareVersions('2.28', '2.9') > 0)
  t.deepEqual(addonFaults(elf(), 'linux-x64-gnu'), [])
  t.deepEqual(addonFaults(elf({ machine: 183 }), 'linux-x64-gnu'), ['its addon is for linux on arm64'])
  t.deepEqual(addonFaults(elf({ versions: ['GLIBC_2.34'] }), 'linux-x64-gnu'), [
    'its addon needs glibc 2.34, newer than 2.28'
  ])
  t.deepEqual(addonFaults(elf({ symbols: true }), 'linux-x64-gnu'), ['its addon has symbols'])
  t.deepEqual(addonFaults(elf(), 'linux-x64-musl'), ['its addon needs glibc'])
  t.deepEqual(addonFaults(Buffer.alloc(9), 'linux-x64-musl'), ['its addon is no native code'])
})

test('the machine of a Mach-O file and of a PE file is read', (t) => {
  const mach = Buffer.alloc(64)
  mach.writeUInt32LE(0xfeedfacf, 0)
  mach.writeUInt32LE(0x0100000c, 4)
  t.deepEqual(addonFaults(mach, 'darwin-arm64'), [])
  t.deepEqual(addonFaults(mach, 'darwin-x64'), ['its addon is for darwin on arm64'])
  const pe = Buffer.alloc(128)
  pe.write('MZ')
  pe.writeUInt32LE(64, 0x3c)
  pe.writeUInt16LE(0x8664, 68)
  t.deepEqual(addonFaults(pe, 'win32-x64-msvc'), [])
})

test('a tarball is rejected for extra files and for missing ones', (t) => {
  const manifest = JSON.stringify({ name: platform.name, version: '1.2.3', main: platform.file })
  const files = { 'package.json': manifest, 'README.md': '', 'LICENSE-MIT': '', 'LICENSE-APACHE': '' }
  t.deepEqual(
    readTarball(tarball(files)).map(({ path }) => path),
    Object.keys(files)
  )
  t.deepEqual(platformFaults(tarball(files), '1.2.3', platform), [`lacks ${platform.file}`])
  t.true(platformFaults(tarball({ ...files, 'lib.js.map': '' }), '1.2.3', platform).includes('holds lib.js.map'))
  t.true(platformFaults(tarball(files), '1.2.4', platform)[0].startsWith('states '))

  const described = { name: '@ruvector/attention', version: '1.2.3', main: './index.js', devDependencies: {} }
  const faults = rootFaults(
    tarball({
      ...files,
      'package.json': JSON.stringify(described),
      'crates/a.rs': '',
      'lib/a.js': '',
      '__test__/a.js': ''
    }),
    '1.2.3',
    [platform]
  )
  t.deepEqual(faults, [
    'holds crates/a.rs',
    'holds __test__/a.js',
    'lacks index.js',
    'lacks CHANGELOG.md',
    'names other platform packages',
    'states devDependencies'
  ])
})

test('npm publish in the repository is refused, and names the way to publish', (t) => {
  // Nothing would be published even without the refusal.
  const { status, stderr } = spawnSync('npm', ['publish', '--dry-run', '--offline'], {
    cwd: root,
    encoding: 'utf8',
    shell: process.platform === 'win32'
  })
  t.not(status, 0)
  t.regex(stderr, /npm run release -- VERSION/)
})

test('typesVersions has every subpath with types from exports', (t) => {
  const { exports, typesVersions } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const typed = Object.entries(exports).filter(([path, { types }]) => path !== '.' && types !== undefined)
  const expected = typed.map(([path, { types }]) => [path.slice('./'.length), [types.default ?? types]])
  t.deepEqual(typesVersions, { '*': Object.fromEntries(expected) })
})

test("the published package has other files for Node's import only, and bundlers still take the sources", (t) => {
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  /** The first match, as Node and bundlers search. @param {any} entry @param {string[]} conditions @returns {any} */
  const resolve = (entry, conditions) => {
    if (typeof entry === 'string') return entry
    for (const [condition, target] of Object.entries(entry)) {
      const found = condition === 'default' || conditions.includes(condition) ? resolve(target, conditions) : undefined
      if (found !== undefined) return found
    }
    return undefined
  }
  const published = publishedExports(exports)
  t.deepEqual(Object.keys(published), Object.keys(exports))
  for (const [path, entry] of Object.entries(exports)) {
    const conditions = [
      ['types', 'import'],
      ['types', 'require'],
      ['node', 'require'],
      ['workerd', 'worker', 'browser', 'module', 'import'],
      ['module', 'browser', 'import'],
      ['browser', 'import'],
      ['module', 'browser', 'require'],
      ['browser', 'require'],
      ['node', 'module', 'import'],
      ['deno', 'node', 'import'],
      ['deno', 'node', 'require']
    ]
    for (const given of conditions) t.is(resolve(published[path], given), resolve(entry, given), `${path}: ${given}`)
    const built = resolve(entry, ['node', 'require']).replace(/\.cjs$/, '.mjs')
    t.is(resolve(published[path], ['node', 'import']), entry.require ? built : resolve(entry, ['node', 'import']))
  }
})

test("links and pictures of the README are absolute on npm's page, and those in programs are not changed", (t) => {
  const repository = { url: 'git+https://github.com/owner/name.git', directory: 'packages/a' }
  const markdown = '![a](docs/a.svg) [b\\nb](docs/b.md#c) [c](#d) [d](https://e.f/)\n\n```md\n[e](f.md)\n```\n'
  const blob = 'https://github.com/owner/name/blob/HEAD/packages/a'
  const raw = 'https://raw.githubusercontent.com/owner/name/HEAD/packages/a'
  t.is(
    withAbsoluteLinks(markdown, repository),
    markdown.replace('docs/a', `${raw}/docs/a`).replace('docs/b', `${blob}/docs/b`)
  )
  t.throws(() => withAbsoluteLinks('', { url: 'https://elsewhere.org/name' }), {
    message: /not a repository on GitHub/
  })
  const readme = readFileSync(join(root, 'README.md'), 'utf8')
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  t.true(relativeLinks(readme).length > 10)
  t.deepEqual(relativeLinks(withAbsoluteLinks(readme, manifest.repository)), [])
  t.truthy(manifest.homepage && manifest.bugs.url)
})
