// Reads streams of bytes, the bodies of responses.

import { unreadable } from './faults.js'

/** The maximum number of bytes to read from a stream at a time. */
const BUFFER_BYTES = 1 << 16

/**
 * Fills a target with the bytes of a stream; returns the number of bytes written.
 *
 * @param {Uint8Array} target
 * @param {ReadableStream<Uint8Array> | null} stream
 * @param {string} label
 */
export async function fill(target, stream, label) {
  let done = 0
  for await (const piece of piecesOf(stream, label)) {
    const length = Math.min(piece.length, target.length - done)
    target.set(piece.subarray(0, length), done)
    done += length
    if (done === target.length) break
  }
  return done
}

/**
 * The pieces of a stream, each valid until the next one; a loop that ends early cancels the stream. Safari's streams
 * have no iterator.
 *
 * @param {ReadableStream<Uint8Array> | null} stream
 * @param {string} label
 */
export async function* piecesOf(stream, label) {
  if (!stream) return
  const { reader, next } = readerOf(stream)
  try {
    for (;;) {
      const { done, value } = await next().catch((error) => {
        throw unreadable(label, error)
      })
      if (done || value === undefined) return
      yield value
    }
  } finally {
    await reader.cancel().catch(() => {})
  }
}

/**
 * Reads into a single buffer if the engine supports it. Otherwise the pieces of a large tensor accumulate until they
 * are garbage-collected, and take as much memory as the tensor.
 *
 * @param {ReadableStream<Uint8Array>} stream
 * @returns {{ reader: { cancel(): Promise<void> }, next: () => Promise<{ done: boolean, value?: Uint8Array }> }}
 */
function readerOf(stream) {
  try {
    const reader = stream.getReader({ mode: 'byob' })
    let buffer = new ArrayBuffer(BUFFER_BYTES)
    const next = async () => {
      const result = await reader.read(new Uint8Array(buffer))
      if (result.value) buffer = result.value.buffer
      return result
    }
    return { reader, next }
  } catch {
    const reader = stream.getReader()
    return { reader, next: () => reader.read() }
  }
}
