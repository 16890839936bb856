// The project's goals, as ratios within one run, and the verdict on each. No check fails because of a timing.

/** @typedef {import('./types.d.ts').Case} Case */
/** @typedef {import('./types.d.ts').Figure} Figure */
/** @typedef {import('./types.d.ts').Goal} Goal */
/** @typedef {import('./types.d.ts').Row} Row */
/** @typedef {{ rows: Row[], figures: Figure[] }} Results */
/** @typedef {{ value: number, where: string }} Finding */
/**
 * @typedef {{ name: string, limit: number, atLeast: boolean, unit: string, find: (results: Results) => Finding[] }} Aim
 */

/** @param {string} family @param {Row} row */
const isOf = (family, row) => row.family === family || row.family.startsWith(`${family} `)

/**
 * The time of the fastest contender of `theirs` as a multiple of the time of `ours`, for each case.
 *
 * @param {(problem: Case) => boolean} isMeant
 * @param {string} ours
 * @param {string} theirs
 * @returns {(results: Results) => Finding[]}
 */
export const against = (isMeant, ours, theirs) => (results) =>
  results.rows
    .filter((row) => isMeant(row.case) && isOf(ours, row))
    .flatMap((row) => {
      const others = results.rows.filter((other) => other.case.name === row.case.name && isOf(theirs, other))
      const ratios = others.map((other) => other.ratios[row.contender]).filter((ratio) => ratio !== undefined)
      return ratios.length ? [{ value: Math.min(...ratios), where: row.case.name }] : []
    })

/**
 * @param {string} group
 * @param {(figure: Figure) => boolean} isMeant
 * @param {(figure: Figure) => number} [value]
 * @returns {(results: Results) => Finding[]}
 */
const figure =
  (group, isMeant, value = (found) => found.value) =>
  ({ figures }) =>
    figures
      .filter((found) => found.group === group && isMeant(found))
      .map((found) => ({ value: value(found), where: found.name }))

/**
 * The time of hyperbolic attention as a multiple of exact attention of the same shape, for each contender of `ours`.
 *
 * @param {string} ours
 * @returns {(results: Results) => Finding[]}
 */
const hyperbolicTime =
  (ours) =>
  ({ rows }) =>
    rows
      .filter((row) => row.case.kind === 'hyperbolic' && isOf(ours, row))
      .flatMap((row) => {
        const exact = rows.find(
          (other) =>
            other.contender === row.contender && other.case.group === 'full' && isSameShape(other.case, row.case)
        )
        const value = exact && row.milliseconds.median / exact.milliseconds.median
        return value === undefined ? [] : [{ value, where: `${row.case.name}, ${row.contender}` }]
      })

/** @param {Case} one @param {Case} other */
const isSameShape = (one, other) =>
  one.threads === other.threads && one.queries === other.queries && one.dim === other.dim && one.heads === other.heads

/** @param {string} ours @returns {(results: Results) => Finding[]} */
const callTime =
  (ours) =>
  ({ rows }) =>
    rows
      .filter((row) => row.case.group === 'call' && isOf(ours, row))
      .map((row) => ({ value: row.milliseconds.median * 1000, where: row.contender }))

/**
 * The speed with a mask as a share of the speed without, for each contender of `ours`.
 *
 * @param {string} ours
 * @returns {(results: Results) => Finding[]}
 */
const maskedShare =
  (ours) =>
  ({ rows }) =>
    rows
      .filter((row) => row.case.group === 'masked' && isOf(ours, row))
      .flatMap((row) => {
        const bare = rows.find(
          (other) =>
            other.contender === row.contender && other.case.group === 'full' && isSameShape(other.case, row.case)
        )
        return bare ? [{ value: row.gflops / bare.gflops, where: `${row.case.name}, ${row.contender}` }] : []
      })

/**
 * The time of exact attention as a multiple of linear attention of the same length, for each contender of `ours`.
 *
 * @param {string} ours
 * @returns {(results: Results) => Finding[]}
 */
const againstExact =
  (ours) =>
  ({ rows }) =>
    rows
      .filter((row) => row.case.group === 'linear' && isOf(ours, row))
      .flatMap((row) => {
        const exact = rows.find(
          (other) =>
            other.contender === row.contender &&
            other.case.group === 'long' &&
            other.case.threads === row.case.threads &&
            other.case.queries === row.case.queries
        )
        return exact ? [{ value: exact.milliseconds.median / row.milliseconds.median, where: row.contender }] : []
      })

/** @param {Case} problem */
const isFull = ({ group, dim }) => group === 'full' && dim === 64
/** @param {Case} problem */
const isCausal = ({ group }) => group === 'causal'
/** @param {Case} problem */
const isDecode = ({ group }) => group === 'decode' || group === 'cache'
/** @param {Case} problem */
const isCached = ({ group }) => group === 'cache'
/** @param {Case} problem */
const isLayer = ({ group }) => group === 'layer'
/** @param {Case} problem */
const isRecurrent = ({ group }) => group === 'recurrent'
/** @param {Case} problem */
const isEncoder = ({ group }) => group === 'encoder'
/** @param {Case} problem */
const isGraph = ({ group }) => group === 'graph'
/** @param {Case} problem */
const isLong = ({ queries }) => queries >= 256

/** @param {(problem: Case) => boolean} isMeant */
const serially = (isMeant) => (/** @type {Case} */ problem) => problem.threads === 1 && isMeant(problem)
/** @param {(problem: Case) => boolean} isMeant */
const inParallel = (isMeant) => (/** @type {Case} */ problem) => problem.threads > 1 && isMeant(problem)

/** @param {string} name @param {number} limit @param {Aim['find']} find @returns {Aim} */
const times = (name, limit, find) => ({ name, limit, atLeast: true, unit: '×', find })
/** @param {string} name @param {number} limit @param {Aim['find']} find @returns {Aim} */
export const share = (name, limit, find) => ({ name, limit, atLeast: true, unit: '', find })
/** @param {string} name @param {number} limit @param {string} unit @param {Aim['find']} find @returns {Aim} */
export const atMost = (name, limit, unit, find) => ({ name, limit, atLeast: false, unit, find })

/** @param {string} suffix @param {typeof serially} when */
const againstNativePeers = (suffix, when) =>
  [
    { peer: 'onnxruntime-node', short: 1.5, causal: 2 },
    { peer: 'PyTorch', short: 1.2, causal: 1.6 }
  ].flatMap(({ peer, short, causal }) => [
    times(
      `native / ${peer}${suffix}`,
      1.1,
      against(
        when((problem) => isFull(problem) && problem.queries !== 64),
        'native',
        peer
      )
    ),
    times(
      `native / ${peer}, S=64${suffix}`,
      short,
      against(
        when((problem) => isFull(problem) && problem.queries === 64),
        'native',
        peer
      )
    ),
    times(`native / ${peer}, causal${suffix}`, causal, against(when(isCausal), 'native', peer))
  ])

/**
 * Goals for whole models with weights of 8 bits.
 *
 * @param {Case['texts']} texts
 * @param {string} ours
 * @param {Record<string, number>} limits  by peer
 */
const againstModels = (texts, ours, limits) =>
  Object.entries(limits).map(([peer, limit]) =>
    times(
      `MiniLM q8_0 on ${texts}, ${ours} / ${peer}`,
      limit,
      against((problem) => problem.texts === texts && problem.weightType === 'q8_0', ours, peer)
    )
  )

/** Engines of WebAssembly, and the least speed in them relative to ONNX Runtime. */
const ENGINES = { '': 1, ', Node': 1, ', Chromium': 1.3 }

/** @type {Aim[]} */
export const GOALS = [
  share(
    'native, S ≥ 256: share of the multiply-add peak',
    0.8,
    against(
      serially((problem) => isFull(problem) && isLong(problem)),
      'native',
      'machine'
    )
  ),
  ...againstNativePeers('', serially),
  ...againstNativePeers(', all threads', inParallel),
  times('wasm simd128 / onnxruntime-web', 1.6, against(isFull, 'wasm simd128', 'onnxruntime-web')),
  times('wasm simd128 / onnxruntime-web, causal', 3, against(isCausal, 'wasm simd128', 'onnxruntime-web')),
  times('wasm / tfjs-backend-wasm', 15, against(isFull, 'wasm', 'tfjs-backend-wasm')),
  // The ratio divides native time by WebAssembly time, which is the share of native speed.
  share('wasm simd128: share of native speed', 0.65, against(serially(isFull), 'wasm simd128', 'native')),
  share('wasm relaxed-simd: share of native speed', 0.8, against(serially(isFull), 'wasm relaxed-simd', 'native')),
  share('decode, native: share of the read bandwidth', 0.85, against(serially(isDecode), 'native', 'machine')),
  share('cached decode, wasm: share of the read bandwidth', 0.8, against(serially(isCached), 'wasm', 'machine')),
  times('layer, native / onnxruntime-node', 1.1, against(serially(isLayer), 'native', 'onnxruntime-node')),
  times('layer, wasm / onnxruntime-web', 1.6, against(serially(isLayer), 'wasm', 'onnxruntime-web')),
  times('encoder layer, native / onnxruntime-node', 1.1, against(serially(isEncoder), 'native', 'onnxruntime-node')),
  times('encoder layer, wasm / onnxruntime-web', 1.6, against(serially(isEncoder), 'wasm', 'onnxruntime-web')),
  times('GAT, native / PyTorch Geometric', 3, against(isGraph, 'native', 'PyTorch Geometric')),
  share('GAT, wasm: share of native speed', 0.5, against(serially(isGraph), 'wasm', 'native')),
  share('masks, native: share of the speed without', 0.85, maskedShare('native')),
  share('masks, wasm: share of the speed without', 0.85, maskedShare('wasm')),
  times('linear / exact at S = 16,384, native', 20, againstExact('native')),
  times('linear / exact at S = 16,384, wasm', 20, againstExact('wasm')),
  ...againstModels('sentences', 'native', { 'onnxruntime-node': 1.1, '@huggingface/transformers': 1.15 }),
  ...againstModels('mixed', 'native', { 'onnxruntime-node': 2, '@huggingface/transformers': 2 }),
  ...Object.entries(ENGINES).flatMap(([engine, limit]) =>
    /** @type {const} */ (['sentences', 'long']).flatMap((texts) =>
      againstModels(texts, `wasm${engine}`, { [`onnxruntime-web${engine}`]: limit })
    )
  ),
  times('gated delta, native / transformers', 2.5, against(serially(isRecurrent), 'native', 'transformers')),
  atMost('hyperbolic: time relative to exact, native', 2.5, '×', hyperbolicTime('native')),
  atMost('hyperbolic: time relative to exact, wasm', 2.5, '×', hyperbolicTime('wasm')),
  atMost('call overhead, native', 2, 'µs', callTime('native')),
  atMost('call overhead, wasm', 4, 'µs', callTime('wasm')),
  atMost(
    'memory at S = 16,384, beyond the inputs',
    55,
    'MB',
    figure('memory', () => true)
  ),
  atMost(
    '.wasm',
    200,
    'KB',
    figure('size', ({ name }) => !name.endsWith('gzipped'))
  ),
  atMost(
    '.wasm, gzipped',
    70,
    'KB',
    figure('size', ({ name }) => name.endsWith('gzipped'))
  ),
  atMost(
    'start in a browser',
    20,
    'ms',
    figure('start', ({ name }) => name.endsWith('browser'))
  )
]

/**
 * Returns each goal with the worst of its findings.
 *
 * @param {readonly Aim[]} aims
 * @param {Results} results
 * @returns {Goal[]}
 */
export function judge(aims, results) {
  return aims.map(({ find, ...goal }) => {
    const found = find(results).toSorted((a, b) => (goal.atLeast ? a.value - b.value : b.value - a.value))
    if (found.length === 0) return { ...goal, detail: '', status: /** @type {const} */ ('not measured') }
    const [{ value, where }] = found
    const holds = goal.atLeast ? value >= goal.limit : value <= goal.limit
    const detail = found.length > 1 ? `${where}, the worst of ${found.length}` : where
    return { ...goal, measured: value, detail, status: holds ? 'holds' : 'misses' }
  })
}
