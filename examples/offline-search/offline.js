// The service worker: keeps every file of one build, so that the page opens offline. The build inserts their names. The
// model has a cache of its own, which outlives builds.

const files = /** @type {string[]} */ (JSON.parse('__FILES__'))
const PREFIX = 'offline-search-page-'
const CACHE = `${PREFIX}__VERSION__`
const worker = /** @type {any} */ (globalThis)

worker.addEventListener('install', (/** @type {any} */ event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(files)))
})

worker.addEventListener('activate', (/** @type {any} */ event) => {
  const isOld = (/** @type {string} */ key) => key.startsWith(PREFIX) && key !== CACHE
  event.waitUntil(
    caches
      .keys()
      .then((keys) => Promise.all(keys.filter(isOld).map((key) => caches.delete(key))))
      .then(() => worker.clients.claim())
  )
})

worker.addEventListener('fetch', (/** @type {any} */ event) => {
  if (event.request.method !== 'GET') return
  event.respondWith(
    caches.match(event.request, { ignoreSearch: true, cacheName: CACHE }).then((kept) => kept ?? fetch(event.request))
  )
})
