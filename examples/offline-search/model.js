// The model's files: downloaded once, and kept in a cache under names that change with their contents.

const CACHE = 'offline-search-model'

/** The addresses of all files in the folder `model`, by name. Vite fills this in. @type {Record<string, string>} */
const addresses = Object.fromEntries(
  Object.entries(
    import.meta.glob('./model/**/*.{json,jinja,safetensors}', { query: '?url', import: 'default', eager: true })
  ).map(([path, address]) => [path.replace('./model/', ''), address])
)

/**
 * Returns a file's response, from the cache if it is there.
 *
 * @param {Cache} cache
 * @param {string} address
 * @param {(bytes: number) => void} onBytes  receives the number of bytes that arrived
 */
async function kept(cache, address, onBytes) {
  const found = await cache.match(address)
  if (found) return found
  const response = await fetch(address)
  if (!response.ok || response.body === null) throw new Error(`${address}: status ${response.status}`)
  const counter = new TransformStream({
    transform(chunk, controller) {
      onBytes(chunk.length)
      controller.enqueue(chunk)
    }
  })
  // The cache stores a response only when it is whole, so that an interrupted download leaves nothing.
  await cache.put(address, new Response(response.body.pipeThrough(counter), { headers: response.headers }))
  return /** @type {Response} */ (await cache.match(address))
}

/**
 * The model's files as loadModel takes them.
 *
 * @param {(bytes: number) => void} onBytes  receives the number of all bytes that have arrived
 * @returns {Promise<Record<string, Uint8Array>>}
 */
export async function modelFiles(onBytes) {
  const names = Object.keys(addresses)
  if (!names.includes('config.json')) throw new Error('the page was built without the folder `model`')
  const cache = await caches.open(CACHE)
  const current = new Set(names.map((name) => new URL(addresses[name], location.href).href))
  for (const request of await cache.keys()) if (!current.has(request.url)) await cache.delete(request)
  let bytes = 0
  const onPart = (/** @type {number} */ count) => onBytes((bytes += count))
  // Bytes, since reading many small parts of a cached response's Blob can stall in Chromium.
  const files = await Promise.all(
    names.map(async (name) => {
      const response = await kept(cache, addresses[name], onPart)
      return [name, new Uint8Array(await response.arrayBuffer())]
    })
  )
  return Object.fromEntries(files)
}
