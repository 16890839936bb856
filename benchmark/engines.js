// Whole models by WebAssembly in other engines than this one: Node 22 and Chromium, which have relaxed SIMD. Needs the
// repository, whose tests use the same engines.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { reported } from './building.js'
import { remoteContender } from './remote.js'
import { fromRepository, serveRepository } from './serving.js'
import { MODEL, ONNX_MODEL, isExact, missingModel, missingPeerModel, modelFile, textsOf } from './texts.js'

/** @typedef {import('./types.d.ts').Contender} Contender */
/** @typedef {import('./types.d.ts').Found} Found */

/**
 * A contender with its engine in its name and in its family, which goals look for.
 *
 * @param {string} engine
 * @param {string} version
 * @param {Contender} contender
 * @returns {Contender}
 */
const within = (engine, version, contender) => ({
  ...contender,
  name: `${contender.name}, ${engine} ${version}`,
  family: `${contender.side === 'ours' ? 'wasm' : contender.family}, ${engine}`,
  kinds: ['model']
})

// ── Node 22 ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** @param {Contender[]} started  receives the contenders @param {boolean} withPeers */
async function inNode22(started, withPeers) {
  /** @type {typeof import('../tools/consumers.mjs')} */
  const { installTools, isInstalled } = await fromRepository('tools/consumers.mjs')
  const install = () => installTools('node22')
  const folder = await (isInstalled('node22') ? install() : reported('installing Node 22', install))
  const program = join(folder, 'node_modules', 'node', 'bin', 'node')
  for (const which of ['wasm', ...(withPeers ? ['onnxruntime-web'] : [])]) {
    started.push(within('Node', '22', await remoteContender({ which, program })))
  }
}

// ── Chromium ─────────────────────────────────────────────────────────────────────────────────────────────────────────

const [PAGE, SCRIPT] = ['/benchmark/children/models.html', '/benchmark/children/models.js']
/** @typedef {typeof import('./children/models.js')} Functions */

/**
 * A page with one contender, as a way to call the functions of its script.
 *
 * @param {import('playwright-core').Browser} browser
 * @param {string} address
 */
async function openPage(browser, address) {
  const page = await browser.newPage()
  await page.goto(`${address}${PAGE}`)
  /**
   * @template {keyof Functions} Name
   * @param {Name} name
   * @param {Parameters<Functions[Name]>} given
   * @returns {Promise<Awaited<ReturnType<Functions[Name]>>>}
   */
  return (name, ...given) =>
    page.evaluate(async ({ script, name, given }) => (await import(script))[name](...given), {
      script: SCRIPT,
      name,
      given: /** @type {unknown[]} */ (given)
    })
}

/**
 * @param {Awaited<ReturnType<typeof openPage>>} call
 * @param {string} models  their address
 * @param {boolean} isPeer
 * @returns {Contender['prepare']}
 */
const preparing = (call, models, isPeer) => async (problem) => {
  const missing = isPeer ? missingPeerModel() : missingModel()
  if (missing !== undefined) return missing
  const texts = textsOf(/** @type {NonNullable<typeof problem.texts>} */ (problem.texts))
  const vectors = isPeer
    ? await call('preparePeer', { texts, folder: `${models}/${ONNX_MODEL}`, file: modelFile(problem) })
    : await call('prepareOurs', { texts, folder: `${models}/${MODEL}`, weightType: problem.weightType })
  return {
    time: (count) => call('time', count),
    ...(isExact(problem) && { output: async () => Float32Array.from(vectors) }),
    dispose: () => call('dispose')
  }
}

/** @param {Contender[]} started  receives the contenders @param {boolean} withPeers */
async function inChromium(started, withPeers) {
  /** @type {typeof import('../tools/programs.mjs')} */
  const { BROWSER_ARGS, findBrowser } = await fromRepository('tools/programs.mjs')
  const executablePath = findBrowser()
  if (!executablePath) throw new Error('no Chromium was found')
  const { chromium } = await import('playwright-core')
  const browser = await chromium.launch({ executablePath, args: BROWSER_ARGS })
  const server = await serveRepository()
  const close = async () => {
    await browser.close()
    server.stop()
  }
  /** @param {Omit<Contender, 'version' | 'warmsUp' | 'threaded'>} contender @param {string} version */
  const start = (contender, version) =>
    started.push(
      within('Chromium', browser.version().split('.')[0], { ...contender, version, warmsUp: true, threaded: false })
    )
  const models = `${server.address}/output/models`
  try {
    const own = await openPage(browser, server.address)
    const { version, simd } = await own('about')
    const name = `wasm ${simd}`
    start({ name, family: name, side: 'ours', prepare: preparing(own, models, false), close }, version)
  } catch (error) {
    await close()
    throw error
  }
  if (!withPeers) return
  const peer = await openPage(browser, server.address)
  const about = { name: 'onnxruntime-web on texts', family: 'onnxruntime-web', side: /** @type {const} */ ('peer') }
  start({ ...about, prepare: preparing(peer, models, true) }, await peer('versionOfPeer'))
}

/** @param {boolean} withPeers  whether ONNX Runtime for the web also runs there, if it is installed */
export async function engines(withPeers) {
  const hasPeer = withPeers && existsSync(new URL('node_modules/onnxruntime-web', import.meta.url))
  /** @type {Found[]} */
  const found = []
  for (const [absent, start] of Object.entries({ 'Node 22': inNode22, Chromium: inChromium })) {
    /** @type {Contender[]} */
    const contenders = []
    // Those that started run without those that did not.
    found.push({ contenders })
    try {
      await start(contenders, hasPeer)
    } catch (error) {
      const reason = /** @type {Error} */ (error).message.split('\n')[0]
      found.push({ absent: contenders.length ? `onnxruntime-web, ${absent}` : absent, reason })
    }
  }
  return found
}
