// The README as npm shows it: on npm's page, relative links need the repository's address.

/** @typedef {{ url: string, directory?: string }} Repository */

/**
 * Makes the relative links and pictures of a README absolute. Programs stay as they are.
 *
 * @param {string} markdown
 * @param {Repository} repository  as the manifest names it, on GitHub
 */
export function withAbsoluteLinks(markdown, { url, directory = '' }) {
  const name = /github\.com[/:]([^/]+\/[^/]+?)(?:\.git)?$/.exec(url)?.[1]
  if (name === undefined) throw new Error(`not a repository on GitHub: ${url}`)
  const path = directory === '' ? 'HEAD' : `HEAD/${directory}`
  const bases = {
    link: `https://github.com/${name}/blob/${path}/`,
    picture: `https://raw.githubusercontent.com/${name}/${path}/`
  }
  return markdown
    .split(/(^```[^]*?^```$)/m)
    .map((part) => (part.startsWith('```') ? part : linked(part, bases)))
    .join('')
}

/**
 * @param {string} text
 * @param {{ link: string, picture: string }} bases
 */
function linked(text, { link, picture }) {
  return text.replace(/(!?)(\[[^\]]*\])\(([^()\s]+)\)/g, (all, mark, words, target) =>
    isRelative(target) ? `${mark}${words}(${mark ? picture : link}${target})` : all
  )
}

/** @param {string} target */
const isRelative = (target) => !target.startsWith('#') && !/^[a-z][a-z0-9+.-]*:/i.test(target)

/**
 * The remaining relative links, which would be broken on npm's page.
 *
 * @param {string} markdown
 */
export const relativeLinks = (markdown) =>
  [...markdown.replace(/^```[^]*?^```$/gm, '').matchAll(/\]\(([^()\s]+)\)/g)]
    .map(([, target]) => target)
    .filter(isRelative)
