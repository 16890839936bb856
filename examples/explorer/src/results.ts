// The results on the page: pictures whose cells can be pinned, figures, times, and a table.

import { byId, element, headerCell } from './dom.ts'
import type { Fact, Picture, Result, Timing } from './protocol.ts'
import { saveButtons } from './save.ts'
import { bytes, duration } from './words.ts'

/** Maximum number of rows and columns of the table. */
const MAX_CELLS = 40

/** The smallest scale at which the labels of a picture are readable. */
const READABLE = 0.8

/** A cell of a panel of the heatmap. */
export interface Cell {
  panel: number
  query: number
  key: number
}

export class Results {
  #result: Result | undefined

  /** @param pin  called with the cell that the reader clicks */
  constructor(pin: (cell: Cell) => void) {
    byId('numbers').addEventListener('toggle', () => this.#showTable())
    byId('pictures').addEventListener('click', (event) => {
      const { tokens, rowCount } = this.#result ?? { tokens: [], rowCount: 0 }
      const figure = (event.target as Element).closest('[data-kind="heatmap"]')
      const cell = cellAt(figure, event, tokens.length)
      // In a long text, a cell covers several tokens.
      if (cell && rowCount === tokens.length) pin(cell)
    })
  }

  get hasResult() {
    return this.#result !== undefined
  }

  /** Width of pictures in pixels. */
  get width() {
    return byId('pictures').clientWidth
  }

  show(result: Result) {
    this.#result = result
    this.#showFacts(result.facts)
    this.showPictures(result.pictures)
    this.#showTable()
    byId('notes').replaceChildren(...result.notes.map((note) => element('li', note)))
    byId('timings').hidden = true
  }

  showPictures(pictures: readonly Picture[]) {
    const names = { heatmap: 'Heatmap', disk: 'Poincaré disk', graph: 'Graph' }
    const figures = pictures.map(({ kind, svg }) => {
      const parsed = new DOMParser().parseFromString(svg, 'image/svg+xml').documentElement
      const figure = element('figure', '', 'card')
      figure.dataset.kind = kind
      figure.setAttribute('aria-label', names[kind])
      const width = Number(parsed.getAttribute('width'))
      const picture = document.adoptNode(parsed) as unknown as SVGSVGElement
      // A picture shrinks while it stays readable, and scrolls beyond that.
      picture.style.minWidth = `${Math.round(width * READABLE)}px`
      figure.append(picture, saveButtons(names[kind], svg))
      return figure
    })
    const focused = byId('pictures').contains(document.activeElement)
    const place = [...byId('pictures').children].indexOf(document.activeElement as Element)
    byId('pictures').dataset.panels = (this.#result?.panels.length ?? 0) > 1 ? 'many' : 'one'
    byId('pictures').replaceChildren(...figures)
    // Scrollable figures can be focused, so that keys scroll them.
    for (const figure of figures) if (figure.scrollWidth > figure.clientWidth) figure.tabIndex = 0
    if (focused) figures[Math.min(Math.max(place, 0), figures.length - 1)]?.focus({ preventScroll: true })
  }

  #showFacts(facts: readonly Fact[]) {
    byId('facts').replaceChildren(
      ...facts.map(({ name, value }) => {
        const pair = element('div')
        pair.append(element('dt', name), element('dd', value))
        return pair
      })
    )
  }

  showTimings(timings: readonly Timing[]) {
    const rows = timings.map(({ name, bytes: size, milliseconds, runs, failure }) => {
      const row = element('tr')
      const header = element('th', name)
      header.scope = 'row'
      row.append(header)
      if (milliseconds === undefined) {
        const reason = element('td', `does not run here: ${failure}`)
        reason.colSpan = 3
        row.append(reason)
      } else row.append(element('td', duration(milliseconds)), element('td', String(runs)), element('td', bytes(size)))
      return row
    })
    const table = byId<HTMLTableElement>('timings')
    table.tBodies[0].replaceChildren(...rows)
    table.hidden = false
  }

  /** Shows the weights of the selected heads as a table, once it is opened. */
  #showTable() {
    const details = byId<HTMLDetailsElement>('numbers')
    const result = this.#result
    if (!details.open || !result) return
    const { tokens, rows, rowsAre } = result
    const { length } = tokens
    const shown = Math.min(length, MAX_CELLS)
    const table = element('table')
    const some = shown < length ? `, of the first ${shown} tokens` : ''
    table.createCaption().textContent = `Attention of the row token to the column token, in percent${rowsAre && `, ${rowsAre}`}${some}`
    const head = table.createTHead().insertRow()
    head.append(element('td'), ...tokens.slice(0, shown).map((token) => headerCell('col', token)))
    const body = table.createTBody()
    tokens.slice(0, shown).forEach((token, query) => {
      const row = body.insertRow()
      row.append(headerCell('row', token))
      for (let key = 0; key < shown; key++) row.append(element('td', (100 * rows[query * length + key]).toFixed(1)))
    })
    details.querySelector('.scroll')?.replaceChildren(table)
  }
}

/** The cell of a heatmap of `size` rows and columns at a point of the window. Panels draw cells as lines of width 1. */
function cellAt(figure: Element | null, { clientX, clientY }: MouseEvent, size: number): Cell | undefined {
  const panels = figure?.querySelectorAll<SVGGElement>('g[shape-rendering="crispEdges"]') ?? []
  for (const [panel, group] of [...panels].entries()) {
    const { x, y } = new DOMPoint(clientX, clientY).matrixTransform(group.getScreenCTM()?.inverse())
    const [query, key] = [Math.floor(y + 0.5), Math.floor(x)]
    if (query >= 0 && query < size && key >= 0 && key < size) return { panel, query, key }
  }
  return undefined
}
