// The selected word, and the word that it is pinned to: a cell of the heatmap.

export class Selection {
  /** The query token; undefined before one is selected, when the worker proposes one. */
  token: number | undefined
  /** The key token of the pinned cell. */
  key: number | undefined
  readonly #changed

  constructor(changed: () => void) {
    this.#changed = changed
  }

  select(token: number) {
    this.token = token
    this.#changed()
  }

  /** Pins a cell, or releases it if it is pinned. */
  pin(token: number, key: number) {
    this.key = this.token === token && this.key === key ? undefined : key
    this.token = token
    this.#changed()
  }
}
