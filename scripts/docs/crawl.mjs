// Follows every link of the built site from page to page, and reports broken ones.
//   node scripts/docs/crawl.mjs [FOLDER]

import { existsSync, readFileSync, statSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { root } from '../../tools/shell.mjs'

/** @typedef {{ page: string, link: string, why: string }} BrokenLink */

const entities = /** @type {Record<string, string>} */ ({ amp: '&', lt: '<', gt: '>', quot: '"', '#39': "'" })
const decode = (/** @type {string} */ text) => text.replace(/&(amp|lt|gt|quot|#39);/g, (_, name) => entities[name])

/** @param {string} html */
function read(html) {
  // Text inside programs looks like markup only after it is decoded.
  const values = (/** @type {RegExp} */ pattern) => [...html.matchAll(pattern)].map(([, value]) => decode(value))
  return {
    links: values(/<[a-z][^>]*?\s(?:href|src)="([^"]*)"/g),
    ids: new Set(values(/<[a-z][^>]*?\sid="([^"]*)"/g))
  }
}

/**
 * @param {string} site  the folder with the site's index.html
 * @returns {{ pages: number, links: number, broken: BrokenLink[] }}
 */
export function crawl(site) {
  /** @type {Map<string, ReturnType<typeof read>>} */
  const pages = new Map()
  /** @type {BrokenLink[]} */
  const broken = []
  const open = (/** @type {string} */ path) => {
    const page = pages.get(path) ?? read(readFileSync(path, 'utf8'))
    pages.set(path, page)
    return page
  }
  let links = 0
  open(join(site, 'index.html'))
  // Iteration over a map includes entries that are added meanwhile.
  for (const [path, page] of pages) {
    for (const link of page.links) {
      links += 1
      const why = followed(site, path, link, open)
      if (why !== undefined) broken.push({ page: relative(site, path), link, why })
    }
  }
  return { pages: pages.size, links, broken }
}

/**
 * The reason why a link is broken; undefined if it works or leaves the site.
 *
 * @param {string} site
 * @param {string} from
 * @param {string} link
 * @param {(path: string) => ReturnType<typeof read>} open
 */
function followed(site, from, link, open) {
  const address = new URL(link, pathToFileURL(from))
  if (address.protocol !== 'file:') return undefined
  const anchor = decodeURIComponent(address.hash.slice(1))
  address.hash = ''
  address.search = ''
  const path = fileURLToPath(address)
  if (relative(site, path).startsWith('..')) return 'it is outside the site'
  if (!existsSync(path) || !statSync(path).isFile()) return 'there is no such file'
  if (!path.endsWith('.html')) return undefined
  return anchor === '' || open(path).ids.has(anchor) ? void open(path) : `the page has no ${anchor}`
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { pages, links, broken } = crawl(process.argv[2] ?? join(root, 'output', 'docs'))
  for (const { page, link, why } of broken) console.error(`${page}: ${link}: ${why}`)
  console.log(`${links} links on ${pages} pages, ${broken.length} broken`)
  process.exitCode = broken.length > 0 ? 1 : 0
}
