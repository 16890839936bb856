// Consumers of whole models: the first lines of the README in Node, Bun, Deno, workerd, a page and a worker, on a small
// random model.

import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { Failure, reportOf } from './project.mjs'
import { inWorkerd } from './runtimes.mjs'
import { htmlFor } from './pages.mjs'
import { serveFolder } from './serve.mjs'
import { root } from '../../tools/shell.mjs'

/** @typedef {import('./project.mjs').Consumer} Consumer */
/** @typedef {import('./project.mjs').Project} Project */

const NAME = 'all-MiniLM-L6-v2'

/** The two vectors as the native backend computes them. */
const EXPECTED = [
  [
    -0.0455, -0.047, 0.1997, 0.1351, -0.368, -0.2882, -0.1249, -0.001, 0.2385, 0.2158, 0.2144, -0.0524, -0.0334,
    -0.0443, -0.0493, -0.1118
  ],
  [
    -0.0438, -0.0469, 0.2024, 0.1343, -0.3691, -0.2887, -0.1264, 0.0042, 0.2475, 0.2123, 0.2172, -0.0518, -0.033,
    -0.0444, -0.044, -0.1118
  ]
]

/** Copies the model into a project. @param {Project} project */
const takeModel = ({ folder }) =>
  cpSync(join(root, '__test__', 'golden', 'models', 'sentences-max'), join(folder, NAME), { recursive: true })

/** @param {string} where @param {any} values  both vectors */
function compare(where, values) {
  if (values?.length !== EXPECTED.flat().length) throw new Failure(`${where}: ${JSON.stringify(values)}`)
  const size = EXPECTED[0].length
  const cosines = EXPECTED.map((expected, text) => {
    const actual = values.slice(text * size, (text + 1) * size)
    const product = (/** @type {number[]} */ a, /** @type {number[]} */ b) =>
      a.reduce((sum, x, at) => sum + x * b[at], 0)
    return product(actual, expected) / Math.sqrt(product(actual, actual) * product(expected, expected))
  })
  // A rounding that flips is a whole quantum.
  if (!cosines.every((cosine) => cosine > 0.999)) throw new Failure(`${where}: cosines of ${cosines}`)
  return { note: `cosine ${Math.min(...cosines).toFixed(6)}` }
}

/**
 * @param {'node' | 'bun' | 'deno'} tools
 * @param {{ native?: boolean, args: string[] }} how
 * @returns {Consumer}
 */
const program = (tools, { native = false, args }) => ({
  name: `${{ node: 'Node', bun: 'Bun', deno: 'Deno' }[tools]}: a model in three lines${native ? '' : ', without native'}`,
  core: true,
  tools,
  native,
  async run(project) {
    project.take(['models.js'])
    takeModel(project)
    const command = tools === 'node' ? process.execPath : join(project.folder, 'node_modules', '.bin', tools)
    return compare(tools, reportOf(await project.run(command, args)))
  }
})

/** @type {Consumer} */
const workerd = {
  name: 'workerd: a model in three lines',
  core: true,
  tools: 'workerd',
  async run(project) {
    takeModel(project)
    // A Worker has no files: its model is on a server.
    project.write({
      'worker.js': `import { loadModel } from '@ruvector/attention/models'
export default {
  async fetch(request) {
    const model = await loadModel(await request.text(), { type: 'q8_0' })
    const vectors = await model.embed(['A man is eating food.', 'Someone eats a meal.'])
    return Response.json([...vectors.data])
  }
}
`
    })
    const server = await serveFolder(project.folder)
    try {
      return await inWorkerd(project, 'worker.js', async (worker) => {
        const body = `${server.address}/${NAME}`
        const response = await worker.dispatchFetch('http://localhost/', { method: 'POST', body })
        const text = await response.text()
        if (!response.ok) throw new Failure(text)
        return compare('workerd', JSON.parse(text))
      })
    } finally {
      server.stop()
    }
  }
}

/** @param {'chromium' | 'firefox'} browser @returns {Consumer} */
const page = (browser) => ({
  name: `${{ chromium: 'Chromium', firefox: 'Firefox' }[browser]}: a model in three lines, in a page and a worker`,
  core: browser === 'chromium',
  tools: browser === 'chromium' ? 'node' : browser,
  async run(project) {
    project.take(['models.js'])
    takeModel(project)
    const { build } = await import('esbuild')
    await build({
      entryPoints: ['page', 'worker'].map((out) => ({ in: join(project.folder, 'models.js'), out })),
      bundle: true,
      format: 'esm',
      target: 'es2022',
      outdir: project.folder,
      logLevel: 'error'
    })
    project.write({ 'index.html': htmlFor('page.js') })
    const outcome = /** @type {any} */ (await project.open('.', { browser }))
    compare('in a worker', outcome.worker)
    return compare('in a page', outcome.page)
  }
})

/** @type {Consumer[]} */
export const models = [
  program('node', { native: true, args: ['models.js'] }),
  program('node', { args: ['models.js'] }),
  program('bun', { native: true, args: ['models.js'] }),
  program('deno', { native: true, args: ['run', '--allow-all', 'models.js'] }),
  workerd,
  page('chromium'),
  page('firefox')
]
