// Embeds a text on Cloudflare: POST it, and get its vector back. The model is among the Worker's static assets, and
// stays in memory between requests.
import { loadModel } from '@ruvector/attention/models'

/** @typedef {import('@ruvector/attention/models').Model} Model */
/** @typedef {{ fetch: (address: string) => Promise<Response> }} Assets */

/** Longest text in characters; the model reads its first 256 tokens. */
const MOST = 20_000

/** Files at the top of the folder. */
const FILES = [
  'model.safetensors',
  'config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'modules.json',
  'sentence_bert_config.json',
  'config_sentence_transformers.json'
]

/** The files of the model as loadModel takes them. @param {Assets} assets */
async function filesOf(assets) {
  /** @type {Record<string, Uint8Array>} */
  const files = {}
  const read = async (/** @type {string} */ name) => {
    const response = await assets.fetch(`https://assets/${name}`)
    if (response.ok) files[name] = new Uint8Array(await response.arrayBuffer())
    else await response.body?.cancel()
  }
  await Promise.all(FILES.map(read))
  // Pooling and other modules of sentence-transformers have folders of their own.
  const modules = files['modules.json'] ? JSON.parse(new TextDecoder().decode(files['modules.json'])) : []
  const paths = modules.map((/** @type {{ path: string }} */ { path }) => path).filter(Boolean)
  for (const path of paths) await Promise.all([read(`${path}/config.json`), read(`${path}/model.safetensors`)])
  return files
}

/** @type {Promise<Model> | undefined} */
let loading

/** The model, loaded by the first request. A failure is not kept. @param {Assets} assets */
function modelOf(assets) {
  loading ??= filesOf(assets)
    .then((files) => loadModel(files))
    .catch((error) => {
      loading = undefined
      throw error
    })
  return loading
}

export default {
  /**
   * @param {Request} request
   * @param {{ ASSETS: Assets }} env
   * @param {{ waitUntil: (work: Promise<unknown>) => void }} context
   */
  async fetch(request, env, context) {
    const refusal = (/** @type {number} */ status, /** @type {string} */ error) => Response.json({ error }, { status })
    if (request.method !== 'POST') return refusal(405, 'POST a text')
    const text = await request.text()
    if (text.trim() === '') return refusal(400, 'the text is empty')
    if (text.length > MOST) return refusal(413, `a text has at most ${MOST} characters`)
    const loaded = modelOf(env.ASSETS)
    // Others wait for the model too, even if this client disconnects.
    context.waitUntil(loaded)
    const { data } = await (await loaded).embed(text)
    return Response.json({ vector: Array.from(data) })
  }
}
