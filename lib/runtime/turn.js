// Lets waiting tasks of the event loop run.

/**
 * Resolves after other tasks (timers, input, calls that have ended) had their turn. Timers would wait a millisecond in
 * Node, and four in a page.
 *
 * @type {() => Promise<unknown>}
 */
export const nextTurn =
  typeof setImmediate === 'function'
    ? () => new Promise((resolve) => setImmediate(resolve))
    : typeof (/** @type {any} */ (globalThis).scheduler?.yield) === 'function'
      ? () => /** @type {any} */ (globalThis).scheduler.yield()
      : () => new Promise((resolve) => setTimeout(resolve))
