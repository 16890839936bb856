// An HTTP server that ranks documents for a query, with a limit on concurrent requests and a graceful stop.
import { createServer } from 'node:http'

/** Maximum size of a request body in bytes. */
const MAX_BODY_BYTES = 1_000_000
const MAX_DOCUMENTS = 256
const STATUS = { wrong: 400, unknown: 404, large: 413, busy: 503 }

/** @typedef {{ index: number, score: number }[]} Ranking */
/**
 * @typedef {(query: string, documents: readonly string[] | undefined, signal: AbortSignal) => Promise<Ranking> |
 *   Ranking} Rank
 */

/** An error that is reported to the client. */
class RequestError extends Error {
  /** @param {number} status @param {string} message */
  constructor(status, message) {
    super(message)
    this.status = status
  }
}

/**
 * Reads by events, because breaking out of a `for await` loop would close the connection before the response.
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
      if (length <= MAX_BODY_BYTES) chunks.push(chunk)
      else reject(new RequestError(STATUS.large, `at most ${MAX_BODY_BYTES} bytes`))
    })
    request.on('end', () => resolve(Buffer.concat(chunks).toString()))
    request.on('error', reject)
    request.on('close', () => reject(new RequestError(STATUS.wrong, 'the request was closed early')))
  })
}

/** @param {string} body @returns {{ query: string, documents?: string[], top: number }} */
function readQuestion(body) {
  let question
  try {
    question = JSON.parse(body)
  } catch {
    throw new RequestError(STATUS.wrong, 'the body must be JSON: { query, documents?, top? }')
  }
  const { query, documents, top = 10 } = question ?? {}
  if (typeof query !== 'string' || query === '')
    throw new RequestError(STATUS.wrong, 'query: expected a non-empty string')
  const isList = Array.isArray(documents) && documents.every((document) => typeof document === 'string')
  if (documents !== undefined && (!isList || documents.length > MAX_DOCUMENTS)) {
    throw new RequestError(STATUS.wrong, `documents: expected a list of at most ${MAX_DOCUMENTS} strings`)
  }
  if (!Number.isInteger(top) || top < 1) throw new RequestError(STATUS.wrong, 'top: expected an integer of at least 1')
  return { query, documents, top }
}

/**
 * @param {object} options
 * @param {Rank} options.rank
 * @param {readonly string[]} options.sentences  documents to rank if a request contains none
 * @param {number} options.most  maximum number of concurrent requests; further ones get 503
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
      // Close the connection after the pending response when the server stops.
      ...(isStopping && { connection: 'close' })
    })
    response.end(`${JSON.stringify(body)}\n`)
  }

  /** @param {import('node:http').IncomingMessage} request @param {import('node:http').ServerResponse} response */
  async function rerank(request, response) {
    if (underWay >= most) throw new RequestError(STATUS.busy, `${most} requests are in progress; try again later`)
    // A client that disconnects cancels its work.
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
      throw new RequestError(STATUS.unknown, 'POST /rerank or GET /health')
    } catch (error) {
      // Consume the rest of the request, so that the client reads the response.
      request.resume()
      if (error instanceof RequestError) send(response, error.status, { error: error.message })
      else send(response, 500, { error: error instanceof Error ? error.message : String(error) })
    }
  }

  const server = createServer(answer)
  /** Accepts no further requests, and waits for those in progress. @returns {Promise<void>} */
  const stop = () => {
    isStopping = true
    return new Promise((resolve) => {
      server.close(() => resolve())
      server.closeIdleConnections()
    })
  }
  return { server, stop }
}
