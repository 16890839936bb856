// The pictures of a run, from the package's plot functions. The worker draws them, so that the page stays responsive.

import { attentionHeatmap, graphPlot, poincareDisk } from '@ruvector/attention/plot'
import type { Tensor } from '@ruvector/attention'
import { describeHeads, pairInWords } from '../../minilm-heads/describe-heads.js'
import type { Computed } from './compute.ts'
import type { Picture, View as Asked } from './protocol.ts'
import { HEADS } from './settings.ts'
import { percent } from './words.ts'

/** Width of a panel. */
const PANEL = 330
/** Maximum number of drawn nodes for a long text's graph. */
const MAX_NODES = 40

type View = Asked & { token: number }

export function draw(computed: Computed, view: View): Picture[] {
  const pictures: Picture[] = []
  if (computed.points) pictures.push({ kind: 'disk', svg: drawDisk(computed, view) })
  if (computed.graph) pictures.push({ kind: 'graph', svg: drawGraph(computed, view) })
  pictures.push({ kind: 'heatmap', svg: drawHeatmap(computed, view) })
  return pictures
}

const isSentence = ({ perCell }: Computed) => perCell === 1

function nameHeads({ panels, settings }: Computed) {
  if (settings.mechanism === 'hyperbolic') return 'Weights by distance in the disk'
  const what = settings.stage === 'weights' ? 'Weights' : settings.stage === 'scores' ? 'Scores' : 'Masked scores'
  const layer = `layer ${settings.layer}`
  if (panels.length === 0) return `${what} of ${layer}, mean of ${HEADS} heads`
  return panels.length === 1 ? `${what} of ${layer}, head ${panels[0]}` : `${what} of ${layer}, ${panels.length} heads`
}

function drawHeatmap(computed: Computed, { theme, width, token, key }: View) {
  const { input, matrix, panels, perCell, settings } = computed
  const labels = isSentence(computed) ? [...input.names] : numbersOf(matrix.shape[1], perCell)
  const range = rangeOf(computed)
  const shown = panels.length === 0 ? 1 : panels.length
  const captions = captionsOf(computed)
  const marks = markRow(computed, token, key)
  const isOne = matrix.shape[0] === 1
  return attentionHeatmap(isOne ? { data: matrix.data, shape: matrix.shape.slice(1) } : matrix, {
    queryLabels: labels,
    keyLabels: labels,
    ...(isOne ? {} : { head: panels }),
    ...(captions && { captions }),
    ...(marks && { marks, markLabel: nameMark(input.names, token, key) }),
    ...(range && { range }),
    title: nameHeads(computed),
    notes: [
      'Rows are query tokens, columns are the tokens they attend to.',
      ...(range ? ['Scores beyond the ends of the scale have the color of the end.'] : []),
      ...(perCell > 1
        ? [`Each cell covers ${perCell} × ${perCell} tokens and shows ${describeCell(settings.stage)}.`]
        : [])
    ],
    columns: Math.max(1, Math.min(shown, Math.floor(width / (PANEL * (perCell > 1 ? 1 : widening(matrix)))))),
    maxCells: 160,
    theme
  })
}

/** Token numbers at intervals, if a cell covers several tokens. */
const numbersOf = (cells: number, perCell: number) =>
  Array.from({ length: cells }, (_, cell) => (cell % 8 === 0 ? String(cell * perCell) : null))

/** A few heads have much larger scores than others, so the scale covers most of them. */
function rangeOf({ settings, matrix, panels }: Computed): [number, number] | undefined {
  if (settings.stage === 'weights') return undefined
  const size = matrix.shape[1] ** 2
  const finite = (panels.length === 0 ? [0] : panels)
    .flatMap((head) => [...matrix.data.subarray(head * size, (head + 1) * size)])
    .filter((score) => Number.isFinite(score))
    .sort((a, b) => a - b)
  const at = (share: number) => finite[Math.round(share * (finite.length - 1))] ?? 0
  const [low, high] = [Math.floor(at(0.03)), Math.ceil(at(0.97))]
  return low < high && (low > at(0) || high < at(1)) ? [low, high] : undefined
}

const describeCell = (stage: string) =>
  stage === 'weights' ? 'the sum over its keys, mean over its queries' : 'the mean of its scores'

/** Panels of longer sentences are wider. */
const widening = ({ shape }: Tensor) => Math.max(1, Math.min(shape[1], 48) / 20)

/** A description of each head's attention, above its panel. */
function captionsOf(computed: Computed) {
  const { panels, matrix, input, settings } = computed
  if (panels.length === 0 || !isSentence(computed) || settings.stage !== 'weights') return undefined
  const descriptions = describeHeads({ data: matrix.data, shape: [1, ...matrix.shape] }, input.names)
  return panels.map((head) => {
    const { habit, pairs } = descriptions[head]
    return [habit, ...pairs.slice(0, 1).map((pair) => pairInWords(pair, input.names))]
  })
}

const nameMark = (names: readonly string[], token: number, key: number | undefined) =>
  key === undefined ? `strongest attention of “${names[token]}”` : `“${names[token]}” → “${names[key]}”`

/** The pinned cell of each panel, else the largest weight in the row of the selected token. */
function markRow(computed: Computed, token: number, key: number | undefined) {
  const { matrix, panels, settings } = computed
  if (!isSentence(computed) || settings.stage === 'scores') return undefined
  const [, length] = matrix.shape
  return (panels.length === 0 ? [0] : panels).map((head) => {
    const row = matrix.data.subarray((head * length + token) * length, (head * length + token + 1) * length)
    return { query: token, key: key ?? row.indexOf(Math.max(...row)) }
  })
}

function drawDisk({ points, input, rows, rowCount, settings }: Computed, { theme, width, token }: View) {
  const length = input.names.length
  const row = rows.subarray(token * length, (token + 1) * length)
  const others = row.map((weight, index) => (index === token ? 0 : weight))
  const seen = Array.from(others.keys()).filter((index) => others[index] > 0 && index < rowCount)
  return poincareDisk(points as Tensor, {
    curvature: -settings.curvature,
    labels: input.names.map((name, index) => (index < rowCount ? name : null)),
    edges: seen.map((index) => [token, index] as const),
    edgeWeights: seen.map((index) => others[index]),
    weights: others,
    highlight: [token],
    title: `Attention of “${input.names[token]}” from its position in the disk`,
    notes: [
      `Lines are geodesics, the shortest paths at curvature −${settings.curvature}; wider lines carry more of its attention.`,
      `It attends to itself with ${percent(row[token])}.`
    ],
    size: Math.round(Math.min(Math.max(width - 56, 280), 600)),
    theme
  })
}

function drawGraph({ graph, input, panels }: Computed, { theme, width, token }: View) {
  if (graph === undefined) return ''
  const { edges, weights } = graph
  const shown = Math.min(input.names.length, MAX_NODES)
  const kept = Array.from(edges.source, (_, edge) => edge).filter(
    (edge) => edges.source[edge] < shown && edges.target[edge] < shown
  )
  const heads = panels.length === 0 ? Array.from({ length: HEADS }, (_, head) => head) : panels
  const mean = (edge: number) => heads.reduce((sum, head) => sum + weights.data[edge * HEADS + head], 0) / heads.length
  const of = heads.length === 1 ? `head ${heads[0]}` : `the mean of ${heads.length} heads`
  return graphPlot(
    {
      numNodes: shown,
      source: kept.map((edge) => edges.source[edge]),
      target: kept.map((edge) => edges.target[edge])
    },
    {
      labels: input.names.slice(0, shown),
      positions: aroundEllipse(shown, width),
      weights: Float32Array.from(kept, mean),
      selfLoops: false,
      marks: token < shown ? [{ nodes: [token], label: 'the selected token' }] : [],
      title: 'Attention along the links',
      notes: [
        `An arrow points to the query token; width and darkness show the weight of ${of}.`,
        ...(shown < input.names.length ? [`The first ${shown} of ${input.names.length} tokens.`] : [])
      ],
      width: Math.round(Math.min(Math.max(width, 300), 860)),
      theme
    }
  )
}

/** Positions of the tokens on an ellipse, clockwise in the order of the sentence, from the left. */
function aroundEllipse(count: number, width: number): Tensor {
  const flat = width > 600 ? 0.62 : 1.1
  const data = Float32Array.from({ length: 2 * count }, (_, index) => {
    const angle = Math.PI + (2 * Math.PI * Math.floor(index / 2)) / count
    return index % 2 === 0 ? Math.cos(angle) : flat * Math.sin(angle)
  })
  return { data, shape: [count, 2] }
}
