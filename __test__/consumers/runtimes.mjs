// Consumers outside of browsers: versions of Node with and without permissions, Bun, Deno, and Cloudflare's workerd.

import { join } from 'node:path'
import { NotHere, expectReport, reportOf } from './project.mjs'
import { folderOf } from './tools.mjs'

/** @typedef {import('./project.mjs').Consumer} Consumer */
/** @typedef {import('./project.mjs').Project} Project */

/** A candidate that is not there where the package is installed. */
const noBuild = /^packages\/native\/.*Cannot find module/
const noPackage = /^@ruvector\/attention-.*Cannot find module/
const files = ['check.js', 'node.js', 'node.cjs', 'threads.js', 'init-first.js']

// ── Node ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

const ownMajor = Number(process.versions.node.split('.')[0])

/** @param {number} major @returns {import('./tools.mjs').ToolSet} */
const toolsFor = (major) => (major === ownMajor ? 'node' : /** @type {any} */ (`node${major}`))

/** @param {number} major */
function nodeProgram(major) {
  if (major === ownMajor) return process.execPath
  if (process.platform !== 'linux' || process.arch !== 'x64')
    throw new NotHere('npm has this Node for Linux on x64 only')
  return join(folderOf(toolsFor(major)), 'node_modules', 'node', 'bin', 'node')
}

/**
 * @param {number} major
 * @param {string} how
 * @param {{ args: string[], native?: boolean, expected: Parameters<typeof expectReport>[1] }} what
 * @returns {Consumer}
 */
function node(major, how, { args, native = false, expected }) {
  return {
    name: `Node ${major}: ${how}`,
    core: major === ownMajor,
    tools: toolsFor(major),
    native,
    async run(project) {
      project.take(files)
      return expectReport(reportOf(await project.run(nodeProgram(major), args)), expected)
    }
  }
}

/** The same for each version. @param {number} major @returns {Consumer[]} */
function nodeConsumers(major) {
  const permission = major < 22 ? '--experimental-permission' : '--permission'
  const restricted = [permission, '--allow-fs-read=*', '--no-warnings']
  // An addon is refused before it is looked for.
  const refused = [noBuild, /^@ruvector\/attention-.*Cannot load native addon/]
  const withNative = /** @type {const} */ ({ kind: 'native', workers: true, rejected: [noBuild] })
  const withoutNative = /** @type {const} */ ({ kind: 'wasm', workers: true, rejected: [noBuild, noPackage] })
  return [
    node(major, 'import', { args: ['node.js'], native: true, expected: withNative }),
    node(major, 'require', { args: ['--no-warnings', 'node.cjs'], native: true, expected: withNative }),
    node(major, 'worker_threads', { args: ['threads.js'], native: true, expected: withNative }),
    node(major, 'import, without native', { args: ['node.js'], expected: withoutNative }),
    node(major, 'require, without native', { args: ['--no-warnings', 'node.cjs'], expected: withoutNative }),
    node(major, 'worker_threads, without native', { args: ['threads.js'], expected: withoutNative }),
    node(major, 'permissions for addons', {
      args: [...restricted, '--allow-addons', 'node.js'],
      native: true,
      expected: withNative
    }),
    node(major, 'permissions for workers', {
      args: [...restricted, '--allow-worker', 'node.js'],
      native: true,
      expected: { kind: 'wasm', workers: true, rejected: refused }
    }),
    node(major, 'no permissions', {
      args: [...restricted, 'node.js'],
      native: true,
      expected: { kind: 'wasm', workers: false, rejected: [...refused, /^worker_threads/] }
    })
  ]
}

// ── Bun, Deno ────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * @param {'bun' | 'deno'} tools
 * @param {string} how
 * @param {{ args: string[], native?: boolean, expected: Parameters<typeof expectReport>[1] }} what
 * @returns {Consumer}
 */
const other = (tools, how, { args, native = false, expected }) => ({
  name: `${{ bun: 'Bun', deno: 'Deno' }[tools]}: ${how}`,
  core: true,
  tools,
  native,
  async run(project) {
    project.take(files)
    // As a program, since what npm links is a script of Node's that looks for it.
    const program = join(project.folder, 'node_modules', '.bin', tools)
    return expectReport(reportOf(await project.run(program, args)), expected)
  }
})

const withNative = /** @type {const} */ ({ kind: 'native', workers: true, rejected: [/^packages\/native/] })
const withoutNative = /** @type {const} */ ({ kind: 'wasm', workers: true, rejected: [/^packages/, /^@ruvector/] })

/** @type {Consumer[]} */
const others = [
  other('bun', 'import', { args: ['node.js'], native: true, expected: withNative }),
  other('bun', 'import, without native', { args: ['node.js'], expected: withoutNative }),
  other('bun', 'require', { args: ['node.cjs'], native: true, expected: withNative }),
  other('deno', 'all permissions', { args: ['run', '--allow-all', 'node.js'], native: true, expected: withNative }),
  other('deno', 'all permissions, without native', {
    args: ['run', '--allow-all', 'node.js'],
    expected: withoutNative
  }),
  other('deno', 'permission to read', {
    args: ['run', '--no-prompt', '--allow-read', 'node.js'],
    native: true,
    expected: { kind: 'wasm', workers: true, rejected: [/^packages/, /Requires ffi access/] }
  }),
  other('deno', 'no permissions', {
    args: ['run', '--no-prompt', 'init-first.js'],
    native: true,
    // Its files cannot be read, so that the inlined module takes their place, which needs init().
    expected: { kind: 'wasm', workers: true, rejected: [/./, /./, /Requires read access/, /Requires read access/] }
  })
]

/** @type {Consumer[]} */
export const runtimes = [...[20, 22, 24].flatMap(nodeConsumers), ...others]
