// The charts of a run's page. Runs in the browser, where d3, Observable Plot and `report` are global.

{
  /** @typedef {import('../../types.d.ts').Report} Report */
  /** @typedef {import('../../types.d.ts').Row} Row */
  const { Plot, report } = /** @type {{ Plot: any, report: Report }} */ (/** @type {unknown} */ (window))

  const WIDTH = 1040
  const FAMILIES = [
    ['native', 'light-dark(#0b63ce, #6cb2ff)'],
    ['wasm simd128', 'light-dark(#7a3fc4, #c297ff)'],
    ['wasm relaxed-simd', 'light-dark(#c0319f, #ff8be0)'],
    ['machine', 'light-dark(#8b949e, #7d8590)'],
    ['onnxruntime-node', 'light-dark(#e0662b, #ffa270)'],
    ['onnxruntime-web', 'light-dark(#e0662b, #ffa270)'],
    ['PyTorch', 'light-dark(#0f8b8d, #4fd0d2)'],
    ['PyTorch Geometric', 'light-dark(#a03fa8, #e08fe6)'],
    ['tfjs-backend-wasm', 'light-dark(#b08800, #e3b341)'],
    ['jax-js wasm', 'light-dark(#3f7d20, #8fd16a)'],
    ['@ruvector/attention 2.2', 'light-dark(#96522a, #d29b72)'],
    ['plain JavaScript', 'light-dark(#5b6470, #9aa4b0)']
  ]
  const colors = Object.fromEntries(FAMILIES)
  const OF_NATIVE = ['native', 'machine', 'onnxruntime-node', 'PyTorch', 'PyTorch Geometric']

  /** @param {string} id @param {object | 0 | undefined} plot  falsy if there is nothing to show */
  const show = (id, plot) => {
    const figure = document.getElementById(id)
    if (plot) figure?.append(/** @type {Node} */ (plot))
    else figure?.remove()
  }

  /** @param {number} value */
  const short = (value) => (value >= 100 ? value.toFixed(0) : value.toPrecision(3))

  /** @param {readonly string[]} families  @returns a scale of their colors, with its legend */
  const colorScale = (families) => {
    const domain = FAMILIES.map(([family]) => family).filter((family) => families.includes(family))
    const tickFormat = (/** @type {string} */ family) => (family === 'machine' ? 'this machine at best' : family)
    return { domain, range: domain.map((family) => colors[family]), tickFormat, legend: true }
  }

  /** @param {readonly number[]} values  @returns a logarithmic scale that holds them and 1 */
  const ratioScale = (values) => {
    const [least, most] = [Math.min(0.9, ...values), Math.max(1.1, ...values)]
    const decades = [0.001, 0.01, 0.1, 1, 10, 100, 1000]
    const ticks = decades.flatMap((decade) => [decade, 2 * decade, 5 * decade])
    return {
      type: 'log',
      grid: true,
      ticks: ticks.filter((tick) => tick >= least && tick <= most),
      tickFormat: (/** @type {number} */ x) => `${x}×`,
      labelOffset: 40
    }
  }

  // Of each peer's operators, the fastest represents it.
  const best = (/** @type {Row[]} */ rows) => {
    const found = new Map()
    for (const row of rows) {
      const key = `${row.case.name}\0${row.family}`
      if (!found.has(key) || row.gflops > found.get(key).gflops) found.set(key, row)
    }
    return [...found.values()]
  }
  const rows = best(report.rows)

  // ── Goals ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  const judged = report.goals
    .filter(({ measured }) => measured !== undefined)
    .map((goal) => {
      const measured = Number(goal.measured)
      const quantity = (/** @type {number} */ value) =>
        goal.unit === '' ? `${short(value * 100)} %` : `${short(value)}${goal.unit === '×' ? '' : ' '}${goal.unit}`
      const text = `${quantity(measured)}   (${goal.atLeast ? '≥' : '≤'} ${quantity(goal.limit)})`
      return { ...goal, text, score: goal.atLeast ? measured / goal.limit : goal.limit / measured }
    })
  show(
    'goals',
    judged.length &&
      Plot.plot({
        width: WIDTH,
        height: 70 + 24 * judged.length,
        marginLeft: 370,
        marginRight: 150,
        marginBottom: 45,
        x: { ...ratioScale(judged.map(({ score }) => score)), label: 'of the goal →' },
        y: { label: null, domain: judged.map(({ name }) => name) },
        marks: [
          Plot.ruleX([1], { stroke: 'currentColor', strokeWidth: 1.5 }),
          Plot.link(judged, {
            x1: 1,
            x2: 'score',
            y: 'name',
            stroke: (/** @type {any} */ goal) => `var(--${goal.status})`,
            strokeWidth: 2
          }),
          Plot.dot(judged, {
            x: 'score',
            y: 'name',
            r: 5,
            fill: (/** @type {any} */ goal) => `var(--${goal.status})`,
            title: (/** @type {any} */ goal) => `${goal.name}\n${goal.text}\n${goal.detail}`,
            tip: true
          }),
          Plot.text(judged, {
            y: 'name',
            text: 'text',
            frameAnchor: 'right',
            dx: 140,
            textAnchor: 'end',
            fill: (/** @type {any} */ goal) => `var(--${goal.status})`
          })
        ]
      })
  )

  // ── Speed by length ────────────────────────────────────────────────────────────────────────────────────────────────

  /** @param {(row: Row) => boolean} isMeant @param {string} title */
  const byLength = (isMeant, title) => {
    const shown = rows
      .filter((row) => row.case.threads === 1 && row.case.dim === 64 && ['full', 'causal'].includes(row.case.group))
      .filter(isMeant)
      .map((row) => ({ ...row, length: row.case.queries, panel: row.case.causal ? 'causal' : 'every key' }))
    if (shown.length === 0) return undefined
    return Plot.plot({
      title,
      width: WIDTH,
      height: 340,
      marginLeft: 50,
      marginBottom: 45,
      x: {
        type: 'log',
        base: 2,
        label: 'length S →',
        labelOffset: 40,
        ticks: [...new Set(shown.map(({ length }) => length))],
        tickFormat: 'd',
        inset: 15
      },
      y: { label: '↑ GF/s', grid: true, zero: true },
      fx: { label: null, domain: [...new Set(shown.map(({ panel }) => panel))] },
      color: colorScale(shown.map(({ family }) => family)),
      marks: [
        Plot.ruleY([0]),
        Plot.line(shown, {
          x: 'length',
          y: 'gflops',
          fx: 'panel',
          stroke: 'family',
          strokeWidth: (/** @type {any} */ row) => (row.side === 'ours' ? 3 : 1.5),
          z: 'family'
        }),
        Plot.dot(shown, {
          x: 'length',
          y: 'gflops',
          fx: 'panel',
          fill: 'family',
          r: 4,
          title: (/** @type {any} */ row) =>
            `${row.contender}\n${row.case.name}\n${short(row.gflops)} GF/s, ${short(row.milliseconds.median)} ms`,
          tip: true
        })
      ]
    })
  }
  show(
    'native',
    byLength(({ family }) => OF_NATIVE.includes(family), 'Native code')
  )
  show(
    'wasm',
    byLength(({ family }) => !OF_NATIVE.includes(family), 'WebAssembly and JavaScript')
  )

  // ── Ratios ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  const compared = rows.flatMap((row) => {
    if (row.side !== 'peer') return []
    const ours = OF_NATIVE.includes(row.family) ? /^native/ : /^wasm/
    const factors = Object.entries(row.ratios).filter(([name]) => ours.test(name))
    const panel = OF_NATIVE.includes(row.family) ? 'native peers / native' : 'others / WebAssembly'
    return factors.slice(0, 1).map(([name, factor]) => ({ ...row, name: row.case.name, against: name, factor, panel }))
  })
  const names = [...new Set(compared.map(({ name }) => name))]
  show(
    'ratios',
    compared.length
      ? Plot.plot({
          width: WIDTH,
          height: 110 + 24 * names.length,
          marginLeft: 300,
          marginRight: 30,
          marginBottom: 45,
          x: { ...ratioScale(compared.map(({ factor }) => factor)), label: 'times ours →' },
          y: { label: null, domain: names },
          fx: { label: null },
          color: colorScale(compared.map(({ family }) => family)),
          marks: [
            Plot.ruleX([1], { stroke: 'currentColor', strokeWidth: 1.5 }),
            Plot.dot(compared, {
              x: 'factor',
              y: 'name',
              fx: 'panel',
              fill: 'family',
              r: 5,
              title: (/** @type {any} */ row) =>
                `${row.contender}\n${row.name}\n${short(row.factor)} times ${row.against}`,
              tip: true
            })
          ]
        })
      : undefined
  )
}
