// Shows the progress of a run as a bar on the last line of a terminal; shows nothing without a terminal.

const BAR = 24

export class Progress {
  #done = 0
  #start = performance.now()
  #shown = false

  /**
   * @param {number} total  the number of steps
   * @param {NodeJS.WriteStream} stream
   */
  constructor(total, stream) {
    this.total = total
    this.stream = stream
  }

  /** @param {string} text  the current step */
  show(text) {
    if (!this.stream.isTTY) return
    const share = this.total ? this.#done / this.total : 1
    const full = Math.round(share * BAR)
    const seconds = Math.round((performance.now() - this.#start) / 1000)
    const line = `${'█'.repeat(full)}${'░'.repeat(BAR - full)} ${String(Math.floor(share * 100)).padStart(3)} %  ${seconds} s  ${text}`
    this.stream.write(`\r\u001B[2K${line.slice(0, (this.stream.columns ?? 80) - 1)}`)
    this.#shown = true
  }

  advance(steps = 1) {
    this.#done += steps
  }

  /** Removes the bar. */
  clear() {
    if (this.#shown) this.stream.write('\r\u001B[2K')
  }
}
