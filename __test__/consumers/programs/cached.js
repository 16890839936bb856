// Loads the module and its patch through the page's own cache, as docs/runtimes.md shows it: the second time offline.
import * as attention from '@ruvector/attention/external'
import { check } from './check.js'

const cache = await caches.open(`attention-${attention.version}`)

/** @param {URL} url */
async function cached(url) {
  if (!(await cache.match(url))) await cache.add(url)
  return /** @type {Response} */ (await cache.match(url))
}

const folder = new URL('./node_modules/@ruvector/attention/packages/wasm/', location.href)
const urls = ['attention.simd.wasm', 'attention.relaxed.patch'].map((name) => new URL(name, folder))
await Promise.all(urls.map(cached))

/** Fails as without a network. */
globalThis.fetch = () => Promise.reject(new TypeError('offline'))
const [wasm, patch] = await Promise.all(urls.map(cached))
;/** @type {any} */ (globalThis).outcome = check(attention, { wasm, patch })
