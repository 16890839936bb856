// Reads the pictures under test: XML that every viewer accepts, and its visible parts.

/**
 * Parses XML strictly enough to find what a viewer would reject: tags that do not nest, bare `<` and `&`, duplicate
 * attributes. In a browser, its own parser reads the text as well.
 *
 * @param {string} xml
 * @returns {{ elements: Map<string, number>, texts: string[] }}
 */
export function readXml(xml) {
  const entity = /&(?:amp|lt|gt|quot|apos|#\d+);/g
  const sound = (/** @type {string} */ text) => {
    if (/[<&]/.test(text.replace(entity, ''))) throw new Error(`unescaped text: ${text}`)
    if (/[^\P{Cc}\t\n\r]|\p{Cs}|[\ufffe\uffff]/u.test(text))
      throw new Error(`a control character in ${JSON.stringify(text)}`)
    return text
      .replace(/&lt;/g, '<')
      .replace(/&gt;/g, '>')
      .replace(/&quot;/g, '"')
      .replace(/&#39;/g, "'")
      .replace(/&amp;/g, '&')
  }
  const open = []
  const elements = new Map()
  const texts = []
  let position = 0
  for (const tag of xml.matchAll(/<\?xml [^?]*\?>|<(\/?)([a-z]+)((?:\s+[\w:-]+="[^"<]*")*)\s*(\/?)>/g)) {
    const text = xml.slice(position, tag.index)
    const content = sound(text)
    if (text.trim() && open.at(-1) !== 'style') texts.push(content)
    position = tag.index + tag[0].length
    const [, closing, name, attributes, empty] = tag
    if (name === undefined) continue
    if (closing) {
      if (open.pop() !== name) throw new Error(`</${name}> closes another element`)
      continue
    }
    const names = [...attributes.matchAll(/([\w:-]+)="([^"]*)"/g)].map(([, key, value]) => (sound(value), key))
    if (new Set(names).size !== names.length) throw new Error(`<${name}> has an attribute twice`)
    elements.set(name, (elements.get(name) ?? 0) + 1)
    if (!empty) open.push(name)
  }
  sound(xml.slice(position))
  if (open.length > 0) throw new Error(`<${open[0]}> is not closed`)
  if (typeof DOMParser === 'function') {
    // The page's policy blocks style sheets and logs each one.
    const plain = xml.replace(/<style>[^<]*<\/style>/, '')
    const problem = new DOMParser().parseFromString(plain, 'image/svg+xml').querySelector('parsererror')
    if (problem) throw new Error(problem.textContent ?? 'no XML')
  }
  return { elements, texts }
}
