// The picture of the example: the taxonomy in the Poincaré disk, seen from the concept that looks.

const size = 900
const centre = { x: size / 2, y: size / 2 + 50 }
const radius = 400
const font = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
const ink = '#1c2333'
const muted = '#5b6478'
const line = '#b9c2d3'
const strong = '#b3261e'

const round = (/** @type {number} */ value) => Number(value.toFixed(1))
const escape = (/** @type {string} */ text) => text.replace(/[&<>]/g, (character) => `&#${character.charCodeAt(0)};`)

/**
 * The geodesic from one point of the ball to another, as a path: an arc of the circle that meets the boundary at right angles.
 *
 * @param {readonly number[]} a
 * @param {readonly number[]} b
 */
function geodesic([ax, ay], [bx, by]) {
  const [from, to] = [place([ax, ay]), place([bx, by])]
  const start = `M${round(from.x)} ${round(from.y)}`
  const area = 2 * (ax * by - ay * bx)
  // Through the centre it is straight, and nearly so beside it.
  if (Math.abs(area) < 1e-4) return `${start}L${round(to.x)} ${round(to.y)}`
  const [a, b] = [ax * ax + ay * ay + 1, bx * bx + by * by + 1]
  const [x, y] = [(a * by - b * ay) / area, (b * ax - a * bx) / area]
  const r = Math.sqrt(Math.max(x * x + y * y - 1, 0)) * radius
  const turns = (ax - x) * (by - y) - (ay - y) * (bx - x) > 0 ? 1 : 0
  return `${start}A${round(r)} ${round(r)} 0 0 ${turns} ${round(to.x)} ${round(to.y)}`
}

/** @param {readonly number[]} point  of the ball */
const place = ([x, y]) => ({ x: centre.x + radius * x, y: centre.y + radius * y })

/**
 * @param {readonly import('./taxonomy.js').Concept[]} concepts
 * @param {Float32Array} seen  the points, `[N, 2]`
 * @param {Float32Array} weights
 * @param {number} concept
 * @param {readonly number[]} named  the concepts to name
 */
export function drawDisk(concepts, seen, weights, concept, named) {
  const at = (/** @type {number} */ index) => [seen[2 * index], seen[2 * index + 1]]
  const largest = Math.max(...weights.filter((_, index) => index !== concept))
  const isVisible = (/** @type {number} */ index) => Math.hypot(...at(index)) < 0.995
  const edges = concepts.flatMap(({ parent }, index) =>
    parent >= 0 && (isVisible(index) || isVisible(parent)) ? [geodesic(at(index), at(parent))] : []
  )
  const dots = concepts.flatMap((_, index) => {
    if (index === concept || !isVisible(index)) return []
    const { x, y } = place(at(index))
    const share = weights[index] / largest
    // Things look smaller towards the boundary, as they are further away.
    const r = 1 + 4 * (1 - Math.hypot(...at(index))) + 3 * share
    const fill = share > 0.02 ? ` fill="${strong}" fill-opacity="${round(0.3 + 0.7 * share)}"` : ''
    return [`<circle cx="${round(x)}" cy="${round(y)}" r="${round(r)}"${fill}/>`]
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${size}" height="${size + 80}" viewBox="0 0 ${size} ${size + 80}" font-family='${font}'>`,
    `<rect width="${size}" height="${size + 80}" fill="#ffffff"/>`,
    `<text x="40" y="40" font-size="22" font-weight="600" fill="${ink}">What “${escape(concepts[concept].name)}” looks at among ${concepts.length} kinds of ${escape(concepts[0].name)}</text>`,
    `<text x="40" y="66" font-size="14" fill="${muted}">WordNet’s nouns in the Poincaré disk, the concept in its centre; red: weights of hyperbolic attention. Lines are geodesics.</text>`,
    `<circle cx="${centre.x}" cy="${centre.y}" r="${radius}" fill="#f7f8fb" stroke="${line}"/>`,
    `<path d="${edges.join('')}" fill="none" stroke="${line}" stroke-width="0.8"/>`,
    `<g fill="${muted}">${dots.join('')}</g>`,
    `<circle cx="${centre.x}" cy="${centre.y}" r="9" fill="${strong}"/>`,
    ...labels(concepts, at, concept, named),
    '</svg>',
    ''
  ].join('\n')
}

/**
 * Names, the nearest first; one that would lie on another is left out.
 *
 * @param {readonly import('./taxonomy.js').Concept[]} concepts
 * @param {(index: number) => number[]} at
 * @param {number} concept
 * @param {readonly number[]} named
 */
function labels(concepts, at, concept, named) {
  /** @type {{ x: number, y: number, width: number }[]} */
  const placed = []
  return [concept, ...named].flatMap((index) => {
    const { x, y } = place(at(index))
    const { name } = concepts[index]
    const fontSize = index === concept ? 18 : 13
    const box = { x: x + 10, y: y + (index === concept ? -12 : 4), width: 0.56 * fontSize * name.length }
    const collides = placed.some(
      (other) => Math.abs(other.y - box.y) < 15 && box.x < other.x + other.width && other.x < box.x + box.width
    )
    if (collides || box.x + box.width > size) return []
    placed.push(box)
    const style = `font-size="${fontSize}" font-weight="${index === concept ? 700 : 500}" fill="${ink}"`
    const halo = 'paint-order="stroke" stroke="#ffffff" stroke-width="4" stroke-linejoin="round"'
    return [`<text x="${round(box.x)}" y="${round(box.y)}" ${style} ${halo}>${escape(name)}</text>`]
  })
}
