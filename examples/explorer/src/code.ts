// The program that computes what the page shows: the row of the query token, from the model's folder.

import type { Computed } from './compute.ts'
import { HEADS } from './settings.ts'
import type { Settings } from './settings.ts'

/** A part of a program: the names that it needs from the package, and its lines, which leave `row`. */
interface Part {
  names: string[]
  /** True if the model computes something for the sentence. */
  needsModel: boolean
  lines: string[]
}

const PARTS: Record<Settings['mechanism'], (computed: Computed, token: number) => Part> = {
  'multi-head': softmaxPart,
  'dot-product': softmaxPart,
  linear: linearPart,
  hyperbolic: hyperbolicPart,
  graph: graphPart
}

/** A program for Node; empty for long texts. */
export function codeOf(computed: Computed, token: number) {
  const { settings, input } = computed
  if (settings.length > 0) return ''
  const { names, needsModel, lines } = PARTS[settings.mechanism](computed, token)
  return [
    names.length > 0 && `import { ${names.sort().join(', ')} } from '@ruvector/attention'`,
    needsModel && `import { loadModel } from '@ruvector/attention/models'`,
    '',
    ...(needsModel
      ? [
          `const model = await loadModel('./all-MiniLM-L6-v2')`,
          `const { ids } = model.tokenize(${quoted(settings.text)})`
        ]
      : []),
    `const [token, length] = [${token}, ${needsModel ? 'ids.length' : input.names.length}] // where ${quoted(input.names[token])} looks`,
    ...lines,
    'console.log(row)'
  ]
    .filter((line) => line !== false)
    .join('\n')
}

function quoted(text: string) {
  const json = JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'")
  // Both separate lines.
  return `'${json.replaceAll('\u2028', '\\u2028').replaceAll('\u2029', '\\u2029')}'`
}

const headsOf = ({ panels }: Computed) =>
  panels.length > 0 ? `[${panels.join(', ')}]` : `Array.from({ length: ${HEADS} }, (_, head) => head)`

/** The mask as an entry of an object, with a comma before it. Padding is hidden, and thus left out. */
function maskOf({ mask, reach }: Settings) {
  if (mask === 'causal') return ', causal: true'
  return mask === 'window' ? `, window: [${reach}, ${reach}]` : ''
}

const ROW_OF_HEADS = [
  'const row = Array.from({ length }, (_, key) =>',
  '  heads.reduce((sum, head) => sum + data[(head * length + token) * length + key] / heads.length, 0)',
  ')'
]

/** The input of the layer, and its queries, keys and values with the heads as a dimension. */
const projected = (layer: number) => [
  'const { hiddenStates } = await model.encode([ids], { hiddenStates: true })',
  `const state = model.layers[${layer}].stateDict()`,
  `const all = linear(hiddenStates[${layer}], state['self_attn.in_proj_weight'], state['self_attn.in_proj_bias'])`,
  'const [query, key, value] = [0, 1, 2].map((part) => ({',
  '  data: Float32Array.from({ length: length * 384 }, (_, i) => all.data[3 * i - 2 * (i % 384) + 384 * part]),',
  '  shape: [1, length, 12, 32]',
  '}))'
]

function softmaxPart(computed: Computed): Part {
  const { settings } = computed
  const mask = maskOf(settings)
  const heads = `const heads = ${headsOf(computed)}`
  if (mask === '') {
    const lines = [
      'const { attentions } = await model.encode([ids], { attentions: true })',
      `const { data } = attentions[0][${settings.layer}] // [heads, tokens, tokens]`,
      heads,
      ...ROW_OF_HEADS
    ]
    return { names: [], needsModel: true, lines }
  }
  const lines = [
    ...projected(settings.layer),
    `const options = { layout: 'blhd', weights: true${mask} }`,
    'const { data } = scaledDotProductAttention(query, key, value, options).weights',
    heads,
    ...ROW_OF_HEADS
  ]
  return { names: ['linear', 'scaledDotProductAttention'], needsModel: true, lines }
}

function linearPart(computed: Computed): Part {
  const { settings } = computed
  const lines = [
    ...projected(settings.layer).map((line) =>
      line.replace('[query, key, value] = [0, 1, 2]', '[query, key] = [0, 1]')
    ),
    'const columns = ({ data }, head) => ({',
    '  data: Float32Array.from({ length: length * 32 }, (_, i) => data[384 * Math.floor(i / 32) + 32 * head + (i % 32)]),',
    '  shape: [1, 1, length, 32]',
    '})',
    '// Linear attention computes no weights. With unit vectors as values, they are its output.',
    'const unit = Float32Array.from({ length: length ** 2 }, (_, i) => (i % (length + 1) === 0 ? 1 : 0))',
    'const values = { data: unit, shape: [1, 1, length, length] }',
    `const layer = new LinearAttention({ modelDim: 384, numHeads: 12, featureMap: '${settings.featureMap}' })`,
    `const heads = ${headsOf(computed)}`,
    'const outputs = heads.map((head) =>',
    `  layer.forward(columns(query, head), columns(key, head), values${settings.mask === 'causal' ? ', { causal: true }' : ''}).output`,
    ')',
    'const row = Array.from({ length }, (_, key) =>',
    '  outputs.reduce((sum, { data }) => sum + data[token * length + key] / heads.length, 0)',
    ')'
  ]
  return { names: ['LinearAttention', 'linear'], needsModel: true, lines }
}

function hyperbolicPart({ settings, points, input }: Computed): Part {
  const numbers = Array.from(points?.data ?? [], (value) => Number(value.toFixed(5)))
  const mask = settings.mask === 'padding' ? `, kvLengths: Int32Array.of(${input.valid})` : maskOf(settings)
  const lines = [
    '// The positions of the tokens in the disk.',
    `const points = createTensor([${numbers.join(', ')}], [1, length, 2])`,
    `const layer = new HyperbolicAttention({ curvature: ${-settings.curvature}, temperature: ${settings.temperature} })`,
    `const { weights } = layer.forward(points, points, points, { weights: true${mask} })`,
    'const row = [...weights.data.subarray(token * length, (token + 1) * length)]'
  ]
  return { names: ['HyperbolicAttention', 'createTensor'], needsModel: false, lines }
}

function graphPart(computed: Computed): Part {
  const { settings, graph, input } = computed
  const { source = [], target = [] } = graph?.edges ?? {}
  // Padding has links to nothing but itself.
  const edges = Array.from(source, (_, edge) => edge).filter(
    (edge) => source[edge] < input.valid && target[edge] < input.valid
  )
  const lines = [
    '// The links, from source to target.',
    `const source = [${edges.map((edge) => source[edge]).join(', ')}]`,
    `const target = [${edges.map((edge) => target[edge]).join(', ')}]`,
    'const { hiddenStates } = await model.encode([ids], { hiddenStates: true })',
    `const state = model.layers[${settings.layer}].stateDict()`,
    'const third = (name, part) => {',
    '  const { data, shape } = state[`self_attn.in_proj_${name}`]',
    '  const size = data.length / 3',
    '  return { data: data.subarray(part * size, (part + 1) * size), shape: [384, ...shape.slice(1)] }',
    '}',
    'const projections = ["query", "key", "value"].flatMap((name, part) =>',
    '  ["weight", "bias"].map((kind) => [`lin_${name}.${kind}`, third(kind, part)])',
    ')',
    'const layer = new GraphTransformer({ inFeatures: 384, outFeatures: 32, numHeads: 12 }).loadStateDict({',
    '  ...Object.fromEntries(projections),',
    "  'lin_skip.weight': { data: new Float32Array(384 ** 2), shape: [384, 384] },",
    "  'lin_skip.bias': { data: new Float32Array(384), shape: [384] }",
    '})',
    'const graph = Graph.fromEdges({ numNodes: length, source, target })',
    `const { weights } = layer.forward(graph, hiddenStates[${settings.layer}], { weights: true }) // [links, heads]`,
    `const heads = ${headsOf(computed)}`,
    'const row = new Array(length).fill(0)',
    'source.forEach((from, link) => {',
    '  if (target[link] !== token) return',
    '  for (const head of heads) row[from] += weights.data[12 * link + head] / heads.length',
    '})'
  ].map((line) => line.replaceAll('"', "'"))
  return { names: ['Graph', 'GraphTransformer'], needsModel: true, lines }
}
