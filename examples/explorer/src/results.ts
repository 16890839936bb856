// The results on the page: selectable tokens, the attention of the selected one, pictures, figures, times.

import { saveButtons } from './save.ts'
import type { Fact, Picture, Result, Timing } from './protocol.ts'
import { bytes, duration, describeRow, largest, percent } from './words.ts'

/** Maximum number of rows and columns of the table. */
const MAX_CELLS = 40
const MAX_WORDS = 8

const byId = <T extends HTMLElement>(id: string) => document.getElementById(id) as T

function element<Name extends keyof HTMLElementTagNameMap>(name: Name, text = '', className = '') {
  const made = document.createElement(name)
  made.textContent = text
  if (className !== '') made.className = className
  return made
}

export class Results {
  #result: Result | undefined
  /** The index of the token that the user selected; before, the worker proposes one. */
  picked: number | undefined
  #token = 0
  #chosen

  /** @param chosen called when another token is selected */
  constructor(chosen: () => void) {
    this.#chosen = chosen
    byId('tokens').addEventListener('change', (event) => {
      this.#token = Number((event.target as HTMLInputElement).value)
      this.picked = this.#token
      this.#tell()
      this.#chosen()
    })
    byId('numbers').addEventListener('toggle', () => this.#showTable())
  }

  get hasResult() {
    return this.#result !== undefined
  }

  /** Width of pictures in pixels. */
  get width() {
    return byId('pictures').clientWidth
  }

  show(result: Result) {
    const isSameText = this.#result?.tokens.join(' ') === result.tokens.join(' ')
    this.#result = result
    this.#token = result.token
    if (!isSameText) this.#showTokens(result)
    this.#check()
    this.#tell()
    this.#showFacts(result.facts)
    this.showPictures(result.pictures)
    this.#showTable()
    byId('notes').replaceChildren(...result.notes.map((note) => element('li', note)))
    byId('timings').hidden = true
  }

  #showTokens({ tokens, rowCount }: Result) {
    const legend = byId('tokens').querySelector('legend') as HTMLElement
    const labels = tokens.slice(0, rowCount).map((token, index) => {
      const input = Object.assign(element('input'), { type: 'radio', name: 'token', value: String(index) })
      const chip = element('span', '', 'chip')
      chip.append(element('span', token, 'word'), element('span', '', 'share'))
      const label = element('label')
      label.append(input, chip)
      return label
    })
    byId('tokens').replaceChildren(legend, ...labels)
  }

  #check() {
    const input = byId('tokens').querySelector<HTMLInputElement>(`input[value="${this.#token}"]`)
    if (input) input.checked = true
  }

  /** The row of the selected token. */
  #row({ rows, tokens: { length } }: Result) {
    return rows.subarray(this.#token * length, (this.#token + 1) * length)
  }

  /** Shows the attention of the selected token: in a sentence, in a list, and below each token. */
  #tell() {
    const result = this.#result
    if (!result) return
    const row = this.#row(result)
    const most = Math.max(...row)
    byId('tokens')
      .querySelectorAll<HTMLElement>('.chip')
      .forEach((chip, index) => {
        chip.style.setProperty('--share', String(most > 0 ? row[index] / most : 0))
        const share = chip.querySelector('.share')
        if (share) share.textContent = percent(row[index])
      })
    byId('sentence').textContent = describeRow(result.tokens, this.#token, row)
    const keys = largest(row, MAX_WORDS).filter((key) => row[key] > 0)
    byId('words').replaceChildren(...keys.map((key) => this.#word(result, key, row[key], most)))
  }

  #word({ tokens, rowsAre }: Result, key: number, share: number, most: number) {
    const name = tokens[key]
    // Distinguishes copies of a word.
    const place = tokens.indexOf(name) === tokens.lastIndexOf(name) ? '' : ` at ${key + 1}`
    const item = element('li')
    item.append(element('span', `${name}${place}`, 'word'), element('span', percent(share), 'share'))
    item.append(element('span', '', 'meter'))
    item.style.setProperty('--share', String(share / most))
    item.title = rowsAre
    return item
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
      picture.style.minWidth = `${Math.round(width * 0.6)}px`
      figure.append(picture, saveButtons(names[kind], svg))
      return figure
    })
    const focused = byId('pictures').contains(document.activeElement)
    const place = [...byId('pictures').children].indexOf(document.activeElement as Element)
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
    head.append(element('td'), ...tokens.slice(0, shown).map((token) => scoped('col', token)))
    const body = table.createTBody()
    tokens.slice(0, shown).forEach((token, query) => {
      const row = body.insertRow()
      row.append(scoped('row', token))
      for (let key = 0; key < shown; key++) row.append(element('td', (100 * rows[query * length + key]).toFixed(1)))
    })
    details.querySelector('.scroll')?.replaceChildren(table)
  }
}

function scoped(scope: string, text: string) {
  const cell = element('th', text)
  cell.scope = scope
  return cell
}
