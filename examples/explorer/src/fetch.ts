// Fetches files in pieces, so that the page shows how far it is, and reads files that the reader chose.

/** Fetches a file and reports the progress from 0 to 1. */
export async function fetchBytes(address: string, report: (fraction: number) => void) {
  const response = await fetch(address)
  if (!response.ok || response.body === null) throw new Error(`${address} could not be fetched: ${response.status}`)
  const whole = Number(response.headers.get('content-length')) || Infinity
  const chunks: Uint8Array<ArrayBuffer>[] = []
  let length = 0
  const reader = response.body.getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) break
    chunks.push(value)
    length += value.length
    report(Math.min(length / whole, 1))
  }
  report(1)
  return new Uint8Array(await new Blob(chunks).arrayBuffer())
}

/**
 * A source of a model. Reads a piece at once: in a worker, Chromium's streams of large files can stop without an end.
 */
export const sourceOf = (file: Blob) => ({
  size: file.size,
  read: async (offset: number, length: number) =>
    new Uint8Array(await file.slice(offset, offset + length).arrayBuffer())
})
