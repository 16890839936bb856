// Packs the package as it would be published, and installs it with npm into separate folders, with and without its
// platform's package.

import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { platformTriple } from '../../lib/loaders/platform.js'
import { publishedExports } from '../../tools/release/manifest.mjs'
import { readTarball } from '../../tools/release/tarball.mjs'
import { Failure, root } from '../../tools/shell.mjs'
import { capture } from './processes.mjs'
import { cache, hash } from '../../tools/consumers.mjs'

/**
 * @typedef {{ native: string | undefined, wasm: string, tarball: string }} Installed folders with
 *   `node_modules/@ruvector`
 */

const triple = platformTriple()
const { dependencies, version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

/**
 * @param {string} folder  the folder to pack
 * @param {string} to
 * @returns {Promise<string>} the tarball
 */
async function pack(folder, to) {
  const output = await capture('npm', ['pack', '--json', '--pack-destination', to, '--loglevel=error'], { cwd: folder })
  const [{ filename }] = JSON.parse(output)
  return join(to, filename)
}

/**
 * The root package, with the entries that a release publishes.
 *
 * @returns {Promise<string>} the tarball
 */
async function packRoot() {
  const folder = join(cache, 'root')
  rmSync(folder, { recursive: true, force: true })
  for (const { path, bytes } of readTarball(readFileSync(await pack(root, cache)))) {
    const file = join(folder, path)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, bytes)
  }
  const path = join(folder, 'package.json')
  const manifest = JSON.parse(readFileSync(path, 'utf8'))
  writeFileSync(path, JSON.stringify({ ...manifest, exports: publishedExports(manifest.exports) }, null, 2))
  return pack(folder, cache)
}

/**
 * The package of this platform, as a release creates it from the result of `npm run build:native`: a manifest and the
 * addon.
 */
async function packPlatform() {
  const name = `attention.${triple}.node`
  const addon = join(root, 'packages', 'native', name)
  if (!existsSync(addon)) return undefined
  const folder = join(cache, 'platform')
  mkdirSync(folder, { recursive: true })
  copyFileSync(addon, join(folder, name))
  const [os, cpu, libc] = triple.split('-')
  const manifest = {
    name: `@ruvector/attention-${triple}`,
    version,
    license: 'MIT OR Apache-2.0',
    os: [os],
    cpu: [cpu],
    ...(os === 'linux' && { libc: [libc === 'musl' ? 'musl' : 'glibc'] }),
    main: name,
    files: [name]
  }
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest, null, 2))
  return pack(folder, cache)
}

/**
 * @param {string} name
 * @param {readonly string[]} tarballs
 * @returns {Promise<string>} the folder
 */
async function install(name, tarballs) {
  const folder = join(cache, name)
  const content = hash(tarballs.map((path) => hash(readFileSync(path))).join())
  const stamp = join(folder, '.installed')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === content) return folder
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'consumer', version: '1.0.0', private: true }))
  const paths = tarballs.map((path) => join('..', basename(path)))
  await capture('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error', ...paths], {
    cwd: folder
  })
  const lock = JSON.parse(readFileSync(join(folder, 'package-lock.json'), 'utf8'))
  const installed = Object.keys(lock.packages).filter((path) => path !== '')
  const expected = tarballs.length + Object.keys(dependencies).length
  if (installed.length !== expected) throw new Failure(`the package brings along ${installed.join(', ')}`)
  writeFileSync(stamp, content)
  return folder
}

/** @returns {Promise<Installed>} */
export async function installPackage() {
  mkdirSync(cache, { recursive: true })
  const tarball = await packRoot()
  const platform = await packPlatform()
  return {
    tarball,
    wasm: await install('without-native', [tarball]),
    native: platform && (await install('with-native', [tarball, platform]))
  }
}
