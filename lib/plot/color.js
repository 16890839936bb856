// Colors of pictures, in pairs for light and dark backgrounds. The value scale is perceptually uniform in OKLab with
// monotonic lightness, so it also works for color-blind readers and in grayscale print.

/** @typedef {readonly [light: string, dark: string]} Pair */

/** Number of steps between the ends of the value scale. */
export const LEVELS = 32

/** @type {Record<string, Pair>} */
const NAMED = {
  paper: ['#ffffff', '#12161f'],
  wash: ['#f6f8fb', '#1a202c'],
  ink: ['#1c2333', '#e8ecf4'],
  muted: ['#5b6478', '#a7b1c4'],
  line: ['#b9c2d3', '#465069'],
  edge: ['#39435c', '#aab6cf'],
  accent: ['#b3261e', '#ff8f6b'],
  mark: ['#d9480f', '#ff9a4d'],
  nan: ['#f7c9b0', '#8a4a22']
}

/** Fill colors of groups, with the text color for each. Neighbors in the list differ in lightness as well as hue. */
const GROUPS = /** @type {const} */ ([
  { fill: ['#1f5fa8', '#6aa9ee'], on: ['#ffffff', '#12161f'] },
  { fill: ['#f0a830', '#f0b34e'], on: ['#1c2333', '#12161f'] },
  { fill: ['#1d7d5b', '#3fae86'], on: ['#ffffff', '#12161f'] },
  { fill: ['#e58fb1', '#f0a6c2'], on: ['#1c2333', '#12161f'] },
  { fill: ['#7a3b10', '#b9713f'], on: ['#ffffff', '#12161f'] },
  { fill: ['#7cc4ee', '#a5dcfb'], on: ['#1c2333', '#12161f'] },
  { fill: ['#6a3fa0', '#a583dd'], on: ['#ffffff', '#12161f'] },
  { fill: ['#f2e35a', '#f5ea86'], on: ['#1c2333', '#12161f'] }
])
const OTHERS = /** @type {const} */ ({ fill: ['#8f98a8', '#79839a'], on: ['#1c2333', '#12161f'] })

/** Number of groups with a distinct color. */
export const GROUP_COLORS = GROUPS.length

/** Stops of the value scale in OKLab (lightness, chroma, hue), for light and dark backgrounds. */
const STOPS = {
  light: [
    [0.972, 0.006, 255],
    [0.78, 0.085, 248],
    [0.56, 0.14, 254],
    [0.37, 0.12, 264],
    [0.2, 0.065, 270]
  ],
  dark: [
    [0.265, 0.022, 265],
    [0.42, 0.105, 264],
    [0.6, 0.13, 245],
    [0.8, 0.1, 215],
    [0.965, 0.05, 190]
  ]
}

/** @typedef {readonly [lightness: number, a: number, b: number]} Lab */

/**
 * Converts OKLab to an sRGB hex color (Ottosson 2020).
 *
 * @param {Lab} lab
 */
function toHex([lightness, a, b]) {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3
  const channels = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s
  ]
  return `#${channels.map(hexOf).join('')}`
}

/** @param {number} linear  one channel, linear light */
function hexOf(linear) {
  const light = Math.min(Math.max(linear, 0), 1)
  const encoded = light <= 0.0031308 ? 12.92 * light : 1.055 * light ** (1 / 2.4) - 0.055
  return Math.round(encoded * 255)
    .toString(16)
    .padStart(2, '0')
}

/**
 * Colors at equal steps along the line through the stops.
 *
 * @param {readonly (readonly number[])[]} stops
 */
function scale(stops) {
  /** @type {Lab[]} */
  const path = []
  for (let step = 0; step <= 1000; step++) {
    const at = (step / 1000) * (stops.length - 1)
    const from = Math.min(Math.floor(at), stops.length - 2)
    const [l, c, h] = stops[from].map((value, index) => value + (stops[from + 1][index] - value) * (at - from))
    const angle = (h * Math.PI) / 180
    path.push([l, c * Math.cos(angle), c * Math.sin(angle)])
  }
  const lengths = [0]
  for (const [index, point] of path.slice(1).entries()) {
    lengths.push(lengths[index] + Math.hypot(...point.map((value, axis) => value - path[index][axis])))
  }
  const whole = /** @type {number} */ (lengths.at(-1))
  return Array.from({ length: LEVELS + 1 }, (_, level) => {
    const index = lengths.findIndex((length) => length >= (whole * level) / LEVELS - 1e-9)
    return { hex: toHex(path[index]), lightness: path[index][0] }
  })
}

/** @type {{ light: ReturnType<typeof scale>, dark: ReturnType<typeof scale> } | undefined} */
let scales

/** The colors of the value scale, lowest to highest, for light and dark backgrounds. */
function valueScales() {
  scales ??= { light: scale(STOPS.light), dark: scale(STOPS.dark) }
  return scales
}

/**
 * The colors of a role: a name, `level-7`, `on-level-7` for text over it, `group-2`, or `on-group-2`.
 *
 * @param {string} role
 * @returns {Pair}
 */
export function colorsOf(role) {
  const [, on, kind, number] = /^(on-)?(level|group)-(\d+)$/.exec(role) ?? []
  if (kind === undefined) return NAMED[role]
  if (kind === 'group') {
    const { fill, on: text } = GROUPS[Number(number)] ?? OTHERS
    return on ? text : fill
  }
  const { light, dark } = valueScales()
  const colors = [light[Number(number)], dark[Number(number)]]
  const [onLight, onDark] = colors.map(({ hex, lightness }) => (on ? (lightness > 0.6 ? '#12161f' : '#ffffff') : hex))
  return [onLight, onDark]
}
