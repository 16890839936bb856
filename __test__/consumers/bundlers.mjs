// Consumers that bundle the package, for browsers (the bundle runs in Chromium) and for Node.

import { cpSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { htmlFor } from './pages.mjs'
import { Failure, expectReport, reportOf } from './project.mjs'
import { cache, toolProgram } from '../../tools/consumers.mjs'

/** @typedef {import('./project.mjs').Consumer} Consumer */
/** @typedef {import('./project.mjs').Project} Project */

const inBrowser = /** @type {const} */ ({ kind: 'wasm', workers: true, needsInit: true })
/** The bundle is in another folder than the package, and resolves the platform's package from there. */
const inNode = /** @type {const} */ ({ kind: 'native', workers: true, rejected: [] })

/**
 * A page with the shared programs.
 *
 * @param {Project} project
 * @param {string} script
 * @param {Record<string, string>} [files]  additional files for the bundler
 */
function takePage(project, script, files = {}) {
  project.take(['check.js', script, 'worker.js'])
  project.write({ 'index.html': htmlFor(`./${script}`), ...files })
}

// ── Vite ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** @param {Project} project */
async function viteDev(project) {
  const args = [toolProgram(project.tools, 'vite'), '--host', '127.0.0.1', '--port', '0', '--clearScreen', 'false']
  const { match, stop } = await project.serve(process.execPath, args, { ready: /(http:\/\/127\.0\.0\.1:\d+)\// })
  try {
    return await project.openAt(match[1])
  } finally {
    await stop()
  }
}

/**
 * Bundles a page and its worker, both with `/external`, and checks that they fetch the same files.
 *
 * @param {Project} project
 * @param {Record<string, string>} files
 * @param {() => Promise<unknown>} bundle
 */
async function expectShared(project, files, bundle) {
  takePage(project, 'shared.js', files)
  project.take(['shared-worker.js'])
  await bundle()
  const names = readdirSync(join(project.folder, 'dist'), { recursive: true, encoding: 'utf8' })
  for (const extension of ['.wasm', '.patch']) {
    const found = names.filter((name) => name.endsWith(extension))
    if (found.length !== 1) throw new Failure(`${found.length} files ${extension}: ${found.join(', ')}`)
  }
  return expectReport(await project.open('dist'), inBrowser)
}

/** Before Vite 8, pre-bundling separates a dependency from its neighboring files, so this one is excluded. */
const excluded = { 'vite.config.js': "export default { optimizeDeps: { exclude: ['@ruvector/attention'] } }\n" }

/** @param {'vite' | 'vite7'} tools @param {number} major @returns {Consumer[]} */
const vite = (tools, major) => [
  {
    name: `Vite ${major}: build`,
    core: tools === 'vite',
    tools,
    async run(project) {
      takePage(project, 'page.js')
      await project.tool(['vite'], ['build', '--logLevel', 'warn'])
      return expectReport(await project.open('dist'), inBrowser)
    }
  },
  {
    name: `Vite ${major}: dev`,
    tools,
    async run(project) {
      takePage(project, 'page.js')
      return expectReport(await viteDev(project), inBrowser)
    }
  },
  {
    name: `Vite ${major}: build, /external`,
    tools,
    async run(project) {
      takePage(project, 'external.js')
      await project.tool(['vite'], ['build', '--logLevel', 'warn'])
      return expectReport(await project.open('dist'), inBrowser)
    }
  },
  {
    name: `Vite ${major}: build, /external in a page and its worker`,
    tools,
    run: (project) => expectShared(project, {}, () => project.tool(['vite'], ['build', '--logLevel', 'warn']))
  },
  {
    name: `Vite ${major}: dev, /external${major < 8 ? ', optimizeDeps.exclude' : ''}`,
    tools,
    async run(project) {
      takePage(project, 'external.js', major < 8 ? excluded : {})
      return expectReport(await viteDev(project), inBrowser)
    }
  }
]

/** @type {Consumer} */
const viteExample = {
  name: 'Vite 8: examples/vite-app',
  core: true,
  tools: 'vite',
  async run(project) {
    project.takeExample('vite-app')
    await project.tool(['vite'], ['build', '--logLevel', 'warn'])
    const { result, picture } = await project.read('dist', { ids: ['result', 'picture'] })
    if (!/^5 words on wasm \(\S+, workers\)$/.test(result)) throw new Failure(result)
    if (!picture.includes('quick')) throw new Failure(`the picture says ${picture}`)
    return { note: result }
  }
}

// ── webpack, Rollup, esbuild, Parcel ─────────────────────────────────────────────────────────────────────────────────

/** @param {string} options */
const webpackConfig = (options) => ({
  'webpack.config.js': `export default { mode: 'production', performance: { hints: false }, ${options} }\n`
})

/** @param {string} script @param {string} how @returns {Consumer} */
const webpackWeb = (script, how) => ({
  name: `webpack 5: ${how}`,
  tools: 'webpack',
  async run(project) {
    takePage(project, script, webpackConfig(`entry: './${script}'`))
    await project.tool(['webpack-cli'], [])
    project.write({ 'dist/index.html': htmlFor('main.js') })
    return expectReport(await project.open('dist'), inBrowser)
  }
})

/** @type {Consumer[]} */
const webpack = [
  webpackWeb('page.js', 'web'),
  webpackWeb('external.js', 'web, /external'),
  {
    name: 'webpack 5: web, /external in a page and its worker',
    tools: 'webpack',
    run: (project) =>
      expectShared(project, webpackConfig("entry: './shared.js'"), async () => {
        await project.tool(['webpack-cli'], [])
        project.write({ 'dist/index.html': htmlFor('main.js') })
      })
  },
  {
    name: 'webpack 5: node',
    tools: 'webpack',
    native: true,
    async run(project) {
      project.take(['check.js', 'report.js'])
      project.write(webpackConfig("target: 'node', entry: './report.js', output: { filename: 'main.cjs' }"))
      await project.tool(['webpack-cli'], [])
      return expectReport(reportOf(await project.run(process.execPath, ['dist/main.cjs'])), inNode)
    }
  }
]

/**
 * Bundles a page that fetches the .wasm, leaves the file out, and expects the message to name it.
 *
 * @param {Project} project
 * @param {() => Promise<unknown>} bundle
 */
async function expectMissing(project, bundle) {
  takePage(project, 'external.js')
  await bundle()
  project.write({ 'dist/index.html': htmlFor('external.js') })
  const message = await project.open('dist').then(
    (report) => `no error: ${JSON.stringify(report)}`,
    (error) => String(error)
  )
  const expected =
    /answered with status 404.*Copy attention\.simd\.wasm .* node_modules\/@ruvector\/attention\/packages\/wasm/s
  if (!expected.test(message)) throw new Failure(message)
  return { note: 'the message names the file to copy' }
}

/**
 * Copies the module and its patch next to the bundle of copied.js.
 *
 * @param {Project} project
 */
async function openCopied(project) {
  project.write({ 'dist/index.html': htmlFor('copied.js') })
  for (const name of ['attention.simd.wasm', 'attention.relaxed.patch']) {
    const from = join(project.folder, 'node_modules/@ruvector/attention/packages/wasm', name)
    cpSync(from, join(project.folder, 'dist', name))
  }
  return expectReport(await project.open('dist'), { ...inBrowser, rejected: [/^workers from a file/] })
}

/** @param {Project} project @param {readonly string[]} args */
const rollupWith = (project, ...args) => project.tool(['rollup'], [...args, '--silent'])

/** @param {'es' | 'cjs'} format @returns {Consumer} */
const rollupNode = (format) => ({
  name: `Rollup: node, ${format}`,
  tools: 'rollup',
  native: true,
  async run(project) {
    project.take(['check.js', 'report.js'])
    const extension = format === 'es' ? 'mjs' : 'cjs'
    // The module inside the JavaScript is imported only where nothing else runs, so it is a chunk of its own.
    const names = ['--entryFileNames', `[name].${extension}`, '--chunkFileNames', `[name].${extension}`]
    const plugin = "node-resolve={exportConditions:['node']}"
    await rollupWith(project, 'report.js', '-f', format, '-d', 'dist', ...names, '-p', plugin)
    return expectReport(reportOf(await project.run(process.execPath, [`dist/report.${extension}`])), inNode)
  }
})

/** @type {Consumer[]} */
const rollup = [
  {
    name: 'Rollup: browser',
    tools: 'rollup',
    async run(project) {
      takePage(project, 'page.js')
      await rollupWith(project, 'page.js', 'worker.js', '-f', 'es', '-d', 'dist', '-p', 'node-resolve')
      project.write({ 'dist/index.html': htmlFor('page.js') })
      return expectReport(await project.open('dist'), inBrowser)
    }
  },
  {
    name: 'Rollup: browser, /external, copied .wasm',
    tools: 'rollup',
    async run(project) {
      takePage(project, 'copied.js')
      await rollupWith(project, 'copied.js', '-f', 'es', '-d', 'dist', '-p', 'node-resolve')
      return openCopied(project)
    }
  },
  {
    name: 'Rollup: browser, /external, no .wasm',
    tools: 'rollup',
    run: (project) =>
      expectMissing(project, () => rollupWith(project, 'external.js', '-f', 'es', '-d', 'dist', '-p', 'node-resolve'))
  },
  rollupNode('es'),
  rollupNode('cjs')
]

/** @param {'esm' | 'cjs'} format @returns {Consumer} */
const esbuildNode = (format) => ({
  name: `esbuild: node, ${format}`,
  core: true,
  tools: 'esbuild',
  native: true,
  async run(project) {
    project.take(['check.js', 'report.js'])
    const outfile = `dist/report.${format === 'esm' ? 'mjs' : 'cjs'}`
    const args = [
      'report.js',
      '--bundle',
      '--platform=node',
      `--format=${format}`,
      `--outfile=${outfile}`,
      '--log-level=error'
    ]
    await project.run(toolProgram(project.tools, 'esbuild'), args)
    return expectReport(reportOf(await project.run(process.execPath, [outfile])), inNode)
  }
})

/** A bundle without the package: the module inside its JavaScript runs. @type {Consumer} */
const esbuildAlone = {
  name: 'esbuild: node, without node_modules',
  tools: 'esbuild',
  native: true,
  async run(project) {
    project.take(['check.js', 'init-first.js'])
    const folder = join(cache, 'esbuild-alone')
    rmSync(folder, { recursive: true, force: true })
    const outfile = join(folder, 'check.mjs')
    const args = ['init-first.js', '--bundle', '--platform=node', '--format=esm', `--outfile=${outfile}`]
    await project.run(toolProgram(project.tools, 'esbuild'), [...args, '--log-level=error'])
    const rejected = [/^packages.native/, /^@ruvector.attention-/, /^packages.wasm/]
    const expected = /** @type {const} */ ({ kind: 'wasm', workers: true, rejected })
    return expectReport(reportOf(await project.run(process.execPath, [outfile])), expected)
  }
}

/** @type {Consumer[]} */
const esbuild = [
  {
    name: 'esbuild: browser',
    core: true,
    tools: 'esbuild',
    async run(project) {
      takePage(project, 'page.js')
      const args = [
        'page.js',
        'worker.js',
        '--bundle',
        '--minify',
        '--format=esm',
        '--outdir=dist',
        '--log-level=error'
      ]
      await project.run(toolProgram(project.tools, 'esbuild'), args)
      project.write({ 'dist/index.html': htmlFor('page.js') })
      return expectReport(await project.open('dist'), inBrowser)
    }
  },
  {
    name: 'esbuild: browser, iife',
    tools: 'esbuild',
    async run(project) {
      takePage(project, 'simple-page.js')
      const args = ['simple-page.js', '--bundle', '--format=iife', '--outdir=dist', '--log-level=error']
      await project.run(toolProgram(project.tools, 'esbuild'), args)
      project.write({ 'dist/index.html': htmlFor('simple-page.js') })
      return expectReport(await project.open('dist'), inBrowser)
    }
  },
  {
    name: 'esbuild: browser, /external, copied .wasm',
    tools: 'esbuild',
    async run(project) {
      takePage(project, 'copied.js')
      const args = ['copied.js', '--bundle', '--format=esm', '--outdir=dist', '--log-level=error']
      await project.run(toolProgram(project.tools, 'esbuild'), args)
      return openCopied(project)
    }
  },
  {
    name: 'esbuild: browser, /external, no .wasm',
    core: true,
    tools: 'esbuild',
    run: (project) =>
      expectMissing(project, () => {
        const args = ['external.js', '--bundle', '--format=esm', '--outdir=dist', '--log-level=error']
        return project.run(toolProgram(project.tools, 'esbuild'), args)
      })
  },
  esbuildNode('esm'),
  esbuildNode('cjs'),
  esbuildAlone
]

/** @param {string} script @param {string} how @returns {Consumer} */
const parcel = (script, how) => ({
  name: `Parcel 2: ${how}`,
  tools: 'parcel',
  async run(project) {
    takePage(project, script)
    // Parcel reads the exports of packages only if configured to.
    project.change('package.json', (manifest) => ({
      ...manifest,
      '@parcel/resolver-default': { packageExports: true }
    }))
    await project.tool(['parcel'], ['build', 'index.html', '--no-cache', '--no-source-maps', '--public-url', './'])
    return expectReport(await project.open('dist'), inBrowser)
  }
})

// ── Next ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

const nextFiles = {
  'app/layout.jsx':
    'export default function Layout({ children }) {\n  return <html lang="en"><body>{children}</body></html>\n}\n',
  'app/page.jsx': "import { Client } from './client.jsx'\n\nexport default function Page() {\n  return <Client />\n}\n",
  'app/client.jsx': `'use client'
import { useEffect } from 'react'
import * as attention from '@ruvector/attention'
import * as compat from '@ruvector/attention/compat'
import * as plot from '@ruvector/attention/plot'
import { check, checkSubpaths } from '../check.js'

export function Client() {
  useEffect(() => {
    globalThis.outcome = check(attention).then(async (report) => {
      await checkSubpaths(compat, plot)
      return report
    })
  }, [])
  return <h1>Check</h1>
}
`,
  'app/rendered/page.jsx': `import * as attention from '@ruvector/attention'
import { check } from '../../check.js'

export default async function Rendered() {
  return <pre>{encodeURIComponent(JSON.stringify(await check(attention)))}</pre>
}
`,
  'app/api/check/route.js': `import * as attention from '@ruvector/attention'
import { check } from '../../../check.js'

export const dynamic = 'force-dynamic'
export async function GET() {
  return Response.json(await check(attention))
}
`
}

/** @param {string} options */
const nextConfig = (options) => ({
  'next.config.mjs': `export default { turbopack: { root: import.meta.dirname }, ${options} }\n`
})

/**
 * @param {Project} project
 * @param {readonly string[]} command  Node command
 */
async function startNext(project, command) {
  const server = await project.serve(process.execPath, command, {
    ready: /(http:\/\/(?:localhost|127\.0\.0\.1):\d+)/,
    env: { HOSTNAME: '127.0.0.1', PORT: '0' }
  })
  return { ...server, address: server.match[1].replace('localhost', '127.0.0.1') }
}

/**
 * @param {Project} project
 * @param {readonly string[]} command  Node command
 * @param {boolean} isNative
 */
async function visitNext(project, command, isNative) {
  const server = await startNext(project, command)
  const { address } = server
  try {
    const response = await fetch(`${address}/api/check`)
    if (!response.ok) throw new Failure(`the route answered ${response.status}: ${server.output()}`)
    const onServer = await response.json()
    const expected = isNative ? inNode : /** @type {const} */ ({ kind: 'wasm', workers: true, rejected: [/./, /./] })
    expectReport(onServer, expected)
    const html = await (await fetch(`${address}/rendered`)).text()
    const [, inComponent = ''] = /<pre>([^<]*)<\/pre>/.exec(html) ?? []
    expectReport(reportOf(decodeURIComponent(inComponent)), expected)
    const outcome = expectReport(await project.openAt(address), inBrowser)
    return { ...outcome, note: `on the server ${onServer.kind}` }
  } finally {
    await server.stop()
  }
}

/**
 * @param {string} how
 * @param {{ options?: string, native?: boolean, command: (next: string, project: Project) => string[], builds?: boolean
 *   }} what
 * @returns {Consumer}
 */
const next = (how, { options = '', native = true, command, builds = true }) => ({
  name: `Next 16: ${how}`,
  tools: 'next',
  native,
  async run(project) {
    project.take(['check.js'])
    project.write({ ...nextFiles, ...nextConfig(options) })
    if (builds) await project.tool(['next'], ['build'], { seconds: 240 })
    return visitNext(project, command(toolProgram('next', 'next'), project), native)
  }
})

/** @type {Consumer} */
const nextEdge = {
  name: 'Next 16: Edge runtime',
  tools: 'next',
  native: true,
  async run(project) {
    const edge = `import { init } from '@ruvector/attention'

export const runtime = 'edge'
export const dynamic = 'force-dynamic'
export async function GET() {
  return Response.json(await init().then(() => 'ready', (error) => error.message))
}
`
    project.write({
      'app/layout.jsx': nextFiles['app/layout.jsx'],
      'app/page.jsx': 'export default function Page() {\n  return <h1>Check</h1>\n}\n',
      'app/api/edge/route.js': edge,
      ...nextConfig('')
    })
    await project.tool(['next'], ['build'], { seconds: 240 })
    const server = await startNext(project, start(toolProgram('next', 'next')))
    try {
      const message = await (await fetch(`${server.address}/api/edge`)).json()
      if (!/the Edge runtime compiles WebAssembly only while/.test(message)) throw new Failure(message)
      return { note: 'init() names the runtime' }
    } finally {
      await server.stop()
    }
  }
}

const start = (/** @type {string} */ program) => [program, 'start', '-H', '127.0.0.1', '-p', '0']

/**
 * Moves Next's server build to an isolated folder, together with the files that it leaves to a CDN.
 *
 * @param {Project} project
 */
function moveStandalone({ folder }) {
  const moved = join(cache, 'next-standalone')
  rmSync(moved, { recursive: true, force: true })
  renameSync(join(folder, '.next/standalone'), moved)
  cpSync(join(folder, '.next/static'), join(moved, '.next/static'), { recursive: true })
  return join(moved, 'server.js')
}

/** The package itself is included, and the platform's package if it is named. */
const standalone = `output: 'standalone', serverExternalPackages: ['@ruvector/attention'],
  outputFileTracingIncludes: { '/api/*': ['./node_modules/@ruvector/attention-*/**'] }`

/** @type {Consumer[]} */
export const bundlers = [
  ...vite('vite', 8),
  viteExample,
  ...vite('vite7', 7),
  ...webpack,
  ...rollup,
  ...esbuild,
  parcel('page.js', 'browser'),
  parcel('external.js', 'browser, /external'),
  next('build and start', { command: start }),
  next('build and start, without native', { command: start, native: false }),
  next('standalone, native', { command: (_, project) => [moveStandalone(project)], options: standalone }),
  next('standalone, without native', {
    command: (_, project) => [moveStandalone(project)],
    options: standalone,
    native: false
  }),
  nextEdge,
  next('dev', { command: (program) => [program, 'dev', '-H', '127.0.0.1', '-p', '0'], builds: false })
]
