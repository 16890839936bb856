// The page's service worker: caches every file of one build, so that the page opens offline. The build inserts the
// list.

const files = /** @type {string[]} */ (JSON.parse('__FILES__'))
const name = 'attention-explorer-__VERSION__'
const worker = /** @type {any} */ (globalThis)

worker.addEventListener('install', (/** @type {any} */ event) => {
  event.waitUntil(caches.open(name).then((cache) => cache.addAll(files)))
})

worker.addEventListener('activate', (/** @type {any} */ event) => {
  const others = (/** @type {string} */ key) => key.startsWith('attention-explorer-') && key !== name
  event.waitUntil(
    caches
      .keys()
      .then((keys) => Promise.all(keys.filter(others).map((key) => caches.delete(key))))
      .then(() => worker.clients.claim())
  )
})

worker.addEventListener('fetch', (/** @type {any} */ event) => {
  if (event.request.method !== 'GET') return
  event.respondWith(
    caches.match(event.request, { ignoreSearch: true, cacheName: name }).then((kept) => kept ?? fetch(event.request))
  )
})
