// An HTTP server that ranks documents for a query, with so many requests under way at most, and a stop that drops none of them.
import { createServer } from 'node:http'

/** The most bytes of a request. */
const LARGEST_BODY = 1_000_000
const MOST_DOCUMENTS = 256
const STATUS = { wrong: 400, unknown: 404, large: 413, busy: 503 }

/** @typedef {{ index: number, score: number }[]} Ranking */
/** @typedef {(query: string, documents: readonly string[] | undefined, signal: AbortSignal) => Promise<Ranking> | Ranking} Rank */

/** What the client is told. */
class Refusal extends Error {
  /** @param {number} status @param {string} message */
  constructor(status, message) {
    super(message)
    this.status = status
  }
}

/**
 * By events, since a loop that is left ends the connection, and with it the answer.
 *
 * @param {import('node:http').IncomingMessage} request
 * @returns {Promise<string>}
 */
function readBody(request) {
  return new Promise((resolve, reject) => {
    /** @type {Buffer[]} */
    const chunks = []
    let length = 0
    request.on('data', (chunk) => {
      length += chunk.length
      if (length <= LARGEST_BODY) chunks.push(chunk)
      else reject(new Refusal(STATUS.large, `at most ${LARGEST_BODY} bytes`))
    })
    request.on('end', () => resolve(Buffer.concat(chunks).toString()))
    request.on('error', reject)
    request.on('close', () => reject(new Refusal(STATUS.wrong, 'the request ended early')))
  })
}

/** @param {string} body @returns {{ query: string, documents?: string[], top: number }} */
function readQuestion(body) {
  let question
  try {
    question = JSON.parse(body)
  } catch {
    throw new Refusal(STATUS.wrong, 'the body has to be JSON: { query, documents?, top? }')
  }
  const { query, documents, top = 10 } = question ?? {}
  if (typeof query !== 'string' || query === '') throw new Refusal(STATUS.wrong, 'query: expected a text')
  const isList = Array.isArray(documents) && documents.every((document) => typeof document === 'string')
  if (documents !== undefined && (!isList || documents.length > MOST_DOCUMENTS)) {
    throw new Refusal(STATUS.wrong, `documents: expected a list of at most ${MOST_DOCUMENTS} texts`)
  }
  if (!Number.isInteger(top) || top < 1) throw new Refusal(STATUS.wrong, 'top: expected an integer of at least 1')
  return { query, documents, top }
}

/**
 * @param {object} options
 * @param {Rank} options.rank
 * @param {readonly string[]} options.sentences  what is ranked where a request brings no documents
 * @param {number} options.most  requests under way; further ones get 503
 * @param {() => unknown} options.health
 */
export function createRerankServer({ rank, sentences, most, health }) {
  let underWay = 0
  let isStopping = false

  /** @param {import('node:http').ServerResponse} response @param {number} status @param {unknown} body */
  function send(response, status, body) {
    if (response.destroyed) return
    response.writeHead(status, {
      'content-type': 'application/json',
      ...(status === STATUS.busy && { 'retry-after': '1' }),
      // Nothing comes after what is under way when the server stops.
      ...(isStopping && { connection: 'close' })
    })
    response.end(`${JSON.stringify(body)}\n`)
  }

  /** @param {import('node:http').IncomingMessage} request @param {import('node:http').ServerResponse} response */
  async function rerank(request, response) {
    if (underWay >= most) throw new Refusal(STATUS.busy, `${most} requests are under way: try again`)
    // Whoever goes away takes the work along.
    const gone = new AbortController()
    response.on('close', () => response.writableFinished || gone.abort())
    underWay++
    try {
      const { query, documents, top } = readQuestion(await readBody(request))
      const ranking = await rank(query, documents, gone.signal)
      const texts = documents ?? sentences
      const results = ranking.slice(0, top).map(({ index, score }) => ({ index, score, text: texts[index] }))
      send(response, 200, { results })
    } finally {
      underWay--
    }
  }

  /** @param {import('node:http').IncomingMessage} request @param {import('node:http').ServerResponse} response */
  async function answer(request, response) {
    try {
      const route = `${request.method} ${request.url}`
      if (route === 'GET /health') return send(response, 200, { underWay, .../** @type {object} */ (health()) })
      if (route === 'POST /rerank') return await rerank(request, response)
      throw new Refusal(STATUS.unknown, 'POST /rerank or GET /health')
    } catch (error) {
      // What was sent is taken in, so that the client reads the answer.
      request.resume()
      if (error instanceof Refusal) send(response, error.status, { error: error.message })
      else send(response, 500, { error: error instanceof Error ? error.message : String(error) })
    }
  }

  const server = createServer(answer)
  /** Takes no further request, and waits for those under way. @returns {Promise<void>} */
  const stop = () => {
    isStopping = true
    return new Promise((resolve) => {
      server.close(() => resolve())
      server.closeIdleConnections()
    })
  }
  return { server, stop }
}
