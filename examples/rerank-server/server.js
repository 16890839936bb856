// A Fastify server that re-ranks documents. Requests wait in a bounded queue, have a time limit, and end when their
// client disconnects.

import { monitorEventLoopDelay } from 'node:perf_hooks'
import Fastify from 'fastify'
import { BusyError, Queue } from './queue.js'

/** Largest body of a request in bytes. */
const BODY_LIMIT = 1_000_000

const schema = {
  body: {
    type: 'object',
    required: ['query', 'documents'],
    additionalProperties: false,
    properties: {
      query: { type: 'string', minLength: 1 },
      documents: { type: 'array', maxItems: 256, items: { type: 'string' } },
      topK: { type: 'integer', minimum: 1, default: 10 }
    }
  }
}

/** @typedef {{ query: string, documents: string[], topK: number }} Question */

/**
 * @param {object} options
 * @param {Pick<import('@ruvector/attention/models').Model, 'rerank'>} options.model  a cross-encoder
 * @param {number} options.running  the most requests that are computed at a time
 * @param {number} options.waiting  the most requests that wait; further ones get status 503
 * @param {number} options.timeout  milliseconds for a request, waiting included; later ones get status 503
 */
export function createServer({ model, running, waiting, timeout }) {
  // By default, Fastify converts wrong types and removes unknown names; here they are errors that the client sees.
  const strict = { coerceTypes: /** @type {const} */ (false), removeAdditional: /** @type {const} */ (false) }
  const app = Fastify({ bodyLimit: BODY_LIMIT, ajv: { customOptions: strict } })
  const queue = new Queue({ running, waiting })
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  closeAfterAnswers(app)

  app.post('/rerank', { schema }, async (request, reply) => {
    const { query, documents, topK } = /** @type {Question} */ (request.body)
    const ended = new AbortController()
    const timer = setTimeout(() => ended.abort(new BusyError(`no result within ${timeout} ms`)), timeout)
    reply.raw.once('close', () => {
      clearTimeout(timer)
      // The client is gone.
      if (!reply.raw.writableFinished) ended.abort()
    })
    const { signal } = ended
    const ranked = await queue.run(() => model.rerank(query, documents, { topK, signal }), signal)
    return { results: ranked.map(({ index, score }) => ({ index, score, text: documents[index] })) }
  })

  /** The load, and percentiles of the event loop's delay in milliseconds since the last request for them. */
  app.get('/health', async () => {
    const [p50, p99] = [50, 99].map((percentile) => delay.percentile(percentile) / 1e6)
    delay.reset()
    return { running: queue.running, waiting: queue.waiting, eventLoopDelay: { p50, p99 } }
  })

  app.setErrorHandler((/** @type {import('fastify').FastifyError} */ error, _, reply) => {
    if (error instanceof BusyError) reply.header('retry-after', '1')
    // If the client is gone, nobody receives this.
    return reply.code(error.statusCode ?? 500).send({ error: error.message })
  })
  app.addHook('onClose', async () => delay.disable())
  return app
}

/**
 * Ends the connections of a server that closes as soon as it has answered. To Node a connection without a first request
 * is not idle, and would last until its timeout of a minute.
 *
 * @param {import('fastify').FastifyInstance} app
 */
function closeAfterAnswers(app) {
  let unanswered = 0
  /** @type {NodeJS.Timeout} */
  let timer
  app.addHook('onRequest', async (_, reply) => {
    unanswered++
    reply.raw.once('close', () => unanswered--)
  })
  app.addHook('preClose', async () => {
    timer = setInterval(() => unanswered === 0 && app.server.closeAllConnections(), 50)
  })
  app.addHook('onClose', async () => clearInterval(timer))
}
