// Runs the specs of __test__ in headless Chromium, on the package's browser entry, under a strict content security
// policy. `--coverage FOLDER` writes V8's counters of the pages, and the bundles with their source maps, to the folder.

import { randomUUID } from 'node:crypto'
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { dirname, extname, join, normalize, sep } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { build } from 'esbuild'
import { chromium } from 'playwright-core'
import { BROWSER_ARGS, findBrowser } from '../../tools/programs.mjs'
import { root } from '../../tools/shell.mjs'

/** The specs that run everywhere; those in `with-workers` also run on a page that allows workers. */
const folder = join(root, '__test__', 'everywhere')
const fewestTests = 200
const timeLimit = 300_000

/** The address that the bundle pretends to have, so that the specs' relative URLs find the golden files. */
const bundlePath = '/__test__/browser/specs.js'
/** Under this path no .wasm exists: the server responds with pages, like servers of single-page apps. */
const hollow = '/without-wasm'
const strict = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; worker-src 'self'"
/**
 * Pages with their policies and specs: all specs under the strict policy, and those of workers where workers are
 * allowed.
 */
const pages = /** @type {Record<string, { policy: string, modules: string[] }>} */ ({
  '/': { policy: strict, modules: ['../browser/entries.js', ...specsIn('.')] },
  '/with-workers': { policy: `${strict} blob:`, modules: specsIn('with-workers') }
})

const { coverage } = parseArgs({ options: { coverage: { type: 'string' } } }).values

const bundles = Object.fromEntries(
  await Promise.all(
    Object.entries(pages).map(async ([path, { modules }], index) => [
      `${bundlePath}?${path}`,
      await bundle(`specs-${index}.js`, modules)
    ])
  )
)
const server = createServer(serve).listen(0, '127.0.0.1')
try {
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  const outcomes = await runInBrowser(`http://127.0.0.1:${port}`)
  const failed = outcomes.filter(({ error }) => error !== undefined)
  for (const { title, error } of failed) console.log(`✘ ${title}\n  ${error}\n`)
  console.log(`browser: ${outcomes.length - failed.length} passed, ${failed.length} failed`)
  if (outcomes.length < fewestTests) throw new Error(`only ${outcomes.length} tests ran`)
  if (failed.length > 0) process.exitCode = 1
} finally {
  server.close()
}

/**
 * The paths of the specs in a folder and its subfolders, relative to the folder of all specs.
 *
 * @param {string} below
 */
function specsIn(below) {
  return readdirSync(join(folder, below), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.spec.js'))
    .map((name) => `./${join(below, name).replaceAll(sep, '/')}`)
}

/**
 * A module with these specs, which runs them and stores the outcomes in `globalThis.outcomes`.
 *
 * @param {string} name  of its file, if coverage is requested
 * @param {readonly string[]} modules
 */
async function bundle(name, modules) {
  const file = join(dirname(coverage ?? folder), name)
  const { outputFiles } = await build({
    stdin: {
      contents: [
        "import { runTests } from 'ava'",
        // One after the other, so that an error while loading a spec becomes an outcome too.
        'globalThis.outcomes = (async () => {',
        ...modules.map((path) => `  await import('${path}')`),
        '  return runTests()',
        '})()'
      ].join('\n'),
      resolveDir: folder
    },
    bundle: true,
    outfile: file,
    sourcemap: coverage ? 'external' : false,
    write: false,
    format: 'esm',
    target: 'es2022',
    conditions: ['browser'],
    alias: { ava: join(root, '__test__/browser/ava.js'), 'node:fs': join(root, '__test__/browser/fs.js') },
    external: ['/lib/*', `${hollow}/*`],
    logLevel: 'warning'
  })
  if (coverage) for (const { path, contents } of outputFiles) writeFileSync(path, contents)
  const [{ text }] = outputFiles.filter(({ path }) => path === file)
  return { file, text }
}

/**
 * The path in the repository for a path of a page.
 *
 * @param {string} pathname
 */
function pathOf(pathname) {
  return normalize(pathname.replace(new RegExp(`^${hollow}/`), '/'))
}

/**
 * Serves the pages, the bundles, and the repository files that a page may request.
 *
 * @param {import('node:http').IncomingMessage} request
 * @param {import('node:http').ServerResponse} response
 */
function serve({ url = '/', headers }, response) {
  const types = /** @type {Record<string, string>} */ ({
    '.js': 'text/javascript',
    '.wasm': 'application/wasm',
    '.patch': 'application/octet-stream',
    '.safetensors': 'application/octet-stream'
  })
  const { pathname, search } = new URL(url, 'http://localhost')
  const { policy } =
    pages[pathname] ?? pages[new URL(headers.referer ?? '/', 'http://localhost').pathname] ?? pages['/']
  const send = (/** @type {string} */ type, /** @type {string | Buffer} */ body) =>
    response.writeHead(200, { 'content-type': type, 'content-security-policy': policy }).end(body)
  if (pages[pathname]) {
    const script = `<script type="module" src="${bundlePath}?${pathname}"></script>`
    return send('text/html', `<!doctype html><meta charset="utf-8"><title>Specs</title>${script}`)
  }
  if (pathname === bundlePath) return send('text/javascript', bundles[pathname + search].text)
  if (pathname.startsWith(hollow) && pathname.endsWith('.wasm')) return send('text/html', '<!doctype html>')
  const path = pathOf(pathname)
  const type = types[extname(path)]
  try {
    if (type === undefined || !/^\/(lib|packages\/wasm|__test__)\//.test(path)) throw new Error('not for the page')
    return send(type, readFileSync(join(root, path)))
  } catch {
    return response.writeHead(404).end()
  }
}

/**
 * @param {string} address
 * @returns {Promise<{ title: string, error?: string }[]>}
 */
async function runInBrowser(address) {
  const executablePath = findBrowser()
  if (!executablePath) throw new Error('no Chromium or Chrome was found: install one, or name it in CHROME_PATH')
  const browser = await chromium.launch({ executablePath, args: BROWSER_ARGS })
  try {
    console.log(`${executablePath}: version ${browser.version()}`)
    const outcomes = []
    for (const path of Object.keys(pages)) outcomes.push(...(await runPage(browser, address + path)))
    return outcomes
  } finally {
    await browser.close()
  }
}

/**
 * @param {import('playwright-core').Browser} browser
 * @param {string} address
 * @returns {Promise<{ title: string, error?: string }[]>}
 */
async function runPage(browser, address) {
  const tab = await browser.newPage()
  tab.on('console', (message) => console.log(`  page: ${message.text()}`))
  const broken = new Promise((_, reject) => tab.on('pageerror', reject))
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`the tests took more than ${timeLimit / 1000} s`)), timeLimit).unref()
  })
  if (coverage) await tab.coverage.startJSCoverage({ resetOnNavigation: false })
  await tab.goto(address)
  const outcomes = await Promise.race([tab.evaluate(() => /** @type {any} */ (globalThis).outcomes), broken, late])
  if (coverage) writeCounters(coverage, await tab.coverage.stopJSCoverage())
  return outcomes
}

/**
 * Writes the counters of a page under the names of its scripts' files.
 *
 * @param {string} folder
 * @param {{ url: string, functions: object[] }[]} scripts
 */
function writeCounters(folder, scripts) {
  const result = scripts.map(({ url, functions }) => {
    const { pathname, search } = new URL(url)
    const file = bundles[pathname + search]?.file ?? join(root, pathOf(pathname))
    return { url: pathToFileURL(file).href, functions }
  })
  writeFileSync(join(folder, `coverage-page-${randomUUID()}.json`), JSON.stringify({ result }))
}
