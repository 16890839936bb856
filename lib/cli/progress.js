// A progress bar on the terminal: share, rate, and remaining time.

/** @param {number} seconds */
function formatTime(seconds) {
  if (!Number.isFinite(seconds)) return '?'
  const rounded = Math.ceil(seconds)
  if (rounded < 60) return `${rounded} s`
  if (rounded < 3600) return `${Math.floor(rounded / 60)} min ${rounded % 60} s`
  return `${Math.floor(rounded / 3600)} h ${Math.floor((rounded % 3600) / 60)} min`
}

/**
 * Draws on standard error if that is a terminal. `done` counts everything, `skipped` what took no time.
 *
 * @param {string} unit
 * @param {number} total
 */
export function createProgress(unit, total) {
  const start = performance.now()
  const { stderr } = process
  return {
    /** @param {number} done @param {number} [skipped] */
    show(done, skipped = 0) {
      if (!stderr.isTTY) return
      const seconds = (performance.now() - start) / 1000
      const rate = (done - skipped) / seconds
      const filled = Math.round((20 * done) / Math.max(total, 1))
      const bar = '█'.repeat(filled) + '░'.repeat(20 - filled)
      const left = formatTime((total - done) / rate)
      stderr.write(`\r\x1b[K${bar} ${done} of ${total} ${unit}, ${rate.toFixed(0)}/s, ${left} left`)
    },
    end() {
      if (stderr.isTTY) stderr.write('\r\x1b[K')
      return (performance.now() - start) / 1000
    }
  }
}
