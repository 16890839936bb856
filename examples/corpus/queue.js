// Shared by the coordinator and its workers: the queue's name, and connections to Redis.

import { Redis } from 'ioredis'

export const QUEUE = 'corpus'

/**
 * Connects to Redis, and keeps trying for as long as it is away.
 *
 * @param {{ host?: string, port: number }} address
 */
export function connect({ host = '127.0.0.1', port }) {
  const connection = new Redis({ host, port, maxRetriesPerRequest: null, retryStrategy: () => 200 })
  // Without a listener, each failed attempt would be printed.
  connection.on('error', () => {})
  return connection
}
