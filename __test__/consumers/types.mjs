// Consumers that read the package's manifest and types: TypeScript with each module resolution, publint,
// are-the-types-wrong.

import { npmProgram } from '../../tools/shell.mjs'
import { expectReport, reportOf } from './project.mjs'

/** @typedef {import('./project.mjs').Consumer} Consumer */
/** @typedef {import('./project.mjs').Project} Project */

// ── TypeScript ───────────────────────────────────────────────────────────────────────────────────────────────────────

const use = `const q: Tensor = attention.createTensor([1, 2, 3, 4], [1, 2, 2])
const { output, weights }: AttentionOutput = attention.scaledDotProductAttention(q, q, q, { weights: true })
const layer = new attention.SelfAttention({ numHeads: 1, headDim: 2 })
export const later: Promise<AttentionOutput> = layer.forwardAsync(q, { causal: true })
export const picture: string = attentionHeatmap({ data: output.data, shape: [2, 2] })
export const old: Float32Array = ruVector.createFlash(2).forward(q.data, q.data, q.data, [1, 2, 2])
export const planned: IAttentionResult = wrapper.createMultiHead(new AttentionConfig(1, 2)).forward(q.data, q.data, q.data, [1, 2, 2, 2])
export const planExternally: typeof ruVector = planExternal.ruVector
export const edges: number = fromGraphology(new Graphology()).graph.numEdges
export const kind: 'native' | 'wasm' = attention.backend().kind
export { weights }
// @ts-expect-error: fails only if types are resolved
attention.createTensor('text', 5)
`

const imports = `import { DirectedGraph as Graphology } from 'graphology'
import * as attention from '@ruvector/attention'
import type { AttentionOutput, Tensor } from '@ruvector/attention'
import * as external from '@ruvector/attention/external'
import wrapper, { AttentionConfig, ruVector, type IAttentionResult } from '@ruvector/attention/compat'
import * as planExternal from '@ruvector/attention/compat/external'
import { attentionHeatmap } from '@ruvector/attention/plot'
import { fromGraphology } from '@ruvector/attention/graphology'
export const same: typeof attention = external
`

/** A CommonJS program, for TypeScript versions without \`require\` of ES modules, which awaits an import. */
const lateImports = `import type { AttentionOutput, Tensor } from '@ruvector/attention' with { 'resolution-mode': 'import' }
export async function main() {
  const attention = await import('@ruvector/attention')
  const q: Tensor = attention.createTensor([1, 2, 3, 4], [1, 2, 2])
  const { output }: AttentionOutput = attention.scaledDotProductAttention(q, q, q)
  return output.data.length
}
`

/**
 * @param {string} version  its package
 * @param {string} how
 * @param {{ file: string, code?: string, options: Record<string, unknown> }} what
 * @returns {Consumer}
 */
const typescript = (version, how, { file, code = imports + use, options }) => ({
  name: `TypeScript ${version === 'typescript' ? 6 : 5}: ${how}`,
  tools: 'typescript',
  async run(project) {
    const compilerOptions = {
      strict: true,
      skipLibCheck: false,
      outDir: 'dist',
      target: 'es2022',
      types: [],
      ...options
    }
    project.write({ [file]: code, 'tsconfig.json': JSON.stringify({ compilerOptions, files: [file] }) })
    await project.tool([version, 'tsc'], ['--project', '.'])
    return {}
  }
})

/** @param {string} version @returns {Consumer[]} */
const typescripts = (version) => [
  // node10 ignores exports, and finds subpaths through typesVersions.
  typescript(version, 'node10', {
    file: 'main.ts',
    options: {
      module: 'esnext',
      moduleResolution: 'node10',
      lib: ['es2022', 'dom'],
      ...(version === 'typescript' && { ignoreDeprecations: '6.0' })
    }
  }),
  typescript(version, 'bundler', {
    file: 'main.ts',
    options: { module: 'esnext', moduleResolution: 'bundler', lib: ['es2022', 'dom'] }
  }),
  typescript(version, 'nodenext, ESM', {
    file: 'main.mts',
    options: { module: 'nodenext', lib: ['es2022'], types: ['node'] }
  }),
  typescript(version, 'nodenext, CommonJS', {
    file: 'main.cts',
    options: { module: 'nodenext', lib: ['es2022'], types: ['node'] }
  }),
  typescript(version, 'node16, ESM', {
    file: 'main.mts',
    options: { module: 'node16', lib: ['es2022'], types: ['node'] }
  }),
  typescript(version, 'node16, CommonJS, await import', {
    file: 'main.cts',
    code: lateImports,
    options: { module: 'node16', lib: ['es2022'], types: ['node'] }
  })
]

/** The output of TypeScript runs too. @type {Consumer} */
const compiled = {
  name: 'TypeScript 6: compiled to CommonJS, run',
  tools: 'typescript',
  native: true,
  async run(project) {
    const code = `import * as attention from '@ruvector/attention'
import { check } from './check.js'
void check(attention).then((report: unknown) => console.log(JSON.stringify(report)))
`
    project.take(['check.js'])
    const compilerOptions = {
      module: 'nodenext',
      target: 'es2022',
      outDir: 'dist',
      rootDir: '.',
      allowJs: true,
      strict: false
    }
    project.write({ 'main.cts': code, 'tsconfig.json': JSON.stringify({ compilerOptions, files: ['main.cts'] }) })
    await project.tool(['typescript', 'tsc'], ['--project', '.'])
    const output = await project.run(process.execPath, ['--no-warnings', 'dist/main.cjs'])
    return expectReport(reportOf(output), { kind: 'native', workers: true, rejected: [] })
  }
}

// ── Checkers of manifests ────────────────────────────────────────────────────────────────────────────────────────────

/** @type {Consumer} */
const publint = {
  name: 'publint',
  tools: 'node',
  async run(project) {
    await project.run(process.execPath, [npmProgram('publint'), project.packed.tarball, '--strict'])
    return {}
  }
}

/** @type {Consumer} */
const attw = {
  name: 'are-the-types-wrong',
  core: true,
  tools: 'attw',
  async run(project) {
    // Under node16, a CommonJS program awaits an import; if modules can be required, it uses require.
    const rules = ['--profile', 'node16', '--ignore-rules', 'cjs-resolves-to-esm']
    const modules = ['', '.core', '.training'].flatMap((use) => [
      `./attention${use}.simd.wasm`,
      `./attention${use}.relaxed.patch`
    ])
    await project.tool(
      ['@arethetypeswrong/cli', 'attw'],
      [project.packed.tarball, '--no-color', '--no-emoji', ...rules, '--exclude-entrypoints', ...modules]
    )
    return {}
  }
}

/** The subpaths that no bundler touches: graphology, and the paths of the module and its patch. @type {Consumer} */
const subpaths = {
  name: 'Node: /graphology, the module and its patch, /package.json',
  core: true,
  tools: 'typescript',
  native: true,
  async run(project) {
    project.take(['check.js'])
    project.write({
      'main.js': `import Graphology from 'graphology'
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import * as attention from '@ruvector/attention'
import { fromGraphology } from '@ruvector/attention/graphology'
import { check, checkGraphology } from './check.js'

checkGraphology(fromGraphology, Graphology)
const require = createRequire(import.meta.url)
if (require('@ruvector/attention/package.json').version !== attention.version) throw new Error('another version')
const [wasm, patch] = ['simd.wasm', 'relaxed.patch'].map((name) =>
  readFileSync(require.resolve(\`@ruvector/attention/attention.\${name}\`))
)
const one = await attention.loadBackend('wasm', { wasm, patch, threads: 2 })
console.log(JSON.stringify(await check({ ...one, init: async () => {} })))
`
    })
    const report = reportOf(await project.run(process.execPath, ['main.js']))
    return expectReport(report, { kind: 'wasm', workers: true })
  }
}

/** @type {Consumer[]} */
export const types = [...typescripts('typescript'), ...typescripts('typescript5'), compiled, publint, attw, subpaths]
