// Every relative link in every Markdown file leads to an existing file and heading. Uses no network.
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'

const root = fileURLToPath(new URL('../../', import.meta.url))
const skipped = /^(node_modules|target|output|dist|packages|\.git|corpus|golden)$/

/** @param {string} folder @returns {string[]} */
function markdownIn(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return skipped.test(entry.name) ? [] : markdownIn(path)
    return entry.isFile() && entry.name.endsWith('.md') ? [relative(root, path).replaceAll('\\', '/')] : []
  })
}

/** @param {string} path */
const textOf = (path) => readFileSync(join(root, path), 'utf8').replace(/^(```+)[^]*?^\1/gm, '')

/** The anchors that GitHub generates for a file's headings. @param {string} path */
function anchorsOf(path) {
  /** @type {Map<string, number>} */
  const seen = new Map()
  return [...textOf(path).matchAll(/^#{1,6} (.+)$/gm)].map(([, heading]) => {
    const words = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase()
    const slug = words
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replace(/\s/g, '-')
    const count = seen.get(slug) ?? 0
    seen.set(slug, count + 1)
    return count === 0 ? slug : `${slug}-${count}`
  })
}

/** The targets of a file's links and pictures. @param {string} path */
function linksOf(path) {
  const text = textOf(path).replace(/(`+)[^]*?\1/g, '')
  const links = text.matchAll(/\]\(<?([^()\s>]+(?:\([^()\s]*\)[^()\s>]*)*)>?(?:\s+"[^"]*")?\)/g)
  const references = text.matchAll(/^\[[^\]]+\]: +<?(\S+?)>?$/gm)
  const attributes = text.matchAll(/<(?:img|a|source)\b[^>]*?\b(?:src|srcset|href)="([^"\s]+)"/g)
  return [...links, ...references, ...attributes].map(([, target]) => target)
}

const files = markdownIn(root)

test('every Markdown file is found', (t) => {
  for (const name of ['README.md', 'CONTRIBUTING.md', 'docs/graphs.md', 'crates/attention/README.md']) {
    t.true(files.includes(name), name)
  }
})

for (const file of files) {
  test(`the links of ${file} lead to existing targets`, (t) => {
    for (const target of linksOf(file)) {
      if (/^[a-z][a-z0-9+.-]*:/i.test(target)) {
        t.notThrows(() => new URL(target), target)
        continue
      }
      const [path, anchor] = target.split('#')
      const end = path === '' ? file : join(dirname(file), decodeURIComponent(path)).replaceAll('\\', '/')
      t.false(end.startsWith('..'), `${target} leads out of the repository`)
      t.true(existsSync(join(root, end)), `${target}: there is no ${end}`)
      if (anchor !== undefined && end.endsWith('.md') && existsSync(join(root, end))) {
        t.true(anchorsOf(end).includes(anchor), `${target}: ${end} has no heading of that name`)
      }
    }
    t.pass()
  })
}
