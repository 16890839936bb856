// Replaces ava in the browser: the same specs register their tests here, which run one after the other.

/** @typedef {{ title: string, body: (t: Assertions) => unknown }} Test */
/** @typedef {{ title: string, error?: string }} Outcome */
/**
 * @typedef {{ message?: string | RegExp | ((message: string) => boolean), code?: unknown, name?: string, instanceOf?:
 *   Function, any?: boolean }} Expected
 */

/** @type {Test[]} */
const tests = []
/** @type {(() => unknown)[]} */
const before = []
/** @type {(() => unknown)[]} */
const after = []

/** @type {(title: string, body: (t: Assertions) => unknown) => void} */
export default function test(title, body) {
  tests.push({ title, body })
}
test.serial = test
test.before = (/** @type {() => unknown} */ hook) => before.push(hook)
test.after = (/** @type {() => unknown} */ hook) => after.push(hook)

/**
 * Runs all registered tests.
 *
 * @returns {Promise<Outcome[]>}
 */
export async function runTests() {
  for (const hook of before) await hook()
  const outcomes = []
  for (const { title, body } of tests) outcomes.push({ title, ...(await runTest(body)) })
  for (const hook of after) await hook()
  return outcomes
}

/** @param {Test['body']} body */
async function runTest(body) {
  const t = new Assertions()
  try {
    await body(t)
    t.finish()
    return {}
  } catch (error) {
    return { error: error instanceof Error ? `${error.stack}` : String(error) }
  } finally {
    for (const teardown of t.teardowns.reverse()) await teardown()
  }
}

/** The assertions that ava passes to a test, as far as the specs use them. */
class Assertions {
  #made = 0
  /** @type {number | undefined} */
  #planned
  /** @type {(() => unknown)[]} */
  teardowns = []

  constructor() {
    // Specs may detach the methods from the object.
    for (const name of Object.getOwnPropertyNames(Assertions.prototype)) {
      const member = /** @type {any} */ (this)[name]
      if (name !== 'constructor') Object.defineProperty(this, name, { value: member.bind(this) })
    }
  }

  finish() {
    if (this.#planned !== undefined) this.is(this.#made, this.#planned, 'the number of assertions')
    else if (this.#made === 0) throw new Error('the test asserted nothing')
  }

  /**
   * @param {boolean} condition
   * @param {string} claim
   * @param {string} [message]
   */
  #assert(condition, claim, message) {
    this.#made += 1
    if (!condition) throw new Error(message === undefined ? claim : `${message}: ${claim}`)
    return true
  }

  /** @param {number} count */
  plan(count) {
    this.#planned = count
  }
  /** @param {() => unknown} hook */
  teardown(hook) {
    this.teardowns.push(hook)
  }
  /** @param {unknown[]} values */
  log(...values) {
    console.log(...values)
  }
  timeout() {}
  pass() {
    return this.#assert(true, '')
  }
  /** @param {string} [message] */
  fail(message) {
    return this.#assert(false, 'failed', message)
  }
  /** @type {(value: unknown, message?: string) => boolean} */
  assert(value, message) {
    return this.#assert(Boolean(value), `${show(value)} is falsy`, message)
  }
  /** @type {(value: unknown, message?: string) => boolean} */
  truthy(value, message) {
    return this.assert(value, message)
  }
  /** @type {(value: unknown, message?: string) => boolean} */
  falsy(value, message) {
    return this.#assert(!value, `${show(value)} is truthy`, message)
  }
  /** @type {(value: unknown, message?: string) => boolean} */
  true(value, message) {
    return this.is(value, true, message)
  }
  /** @type {(value: unknown, message?: string) => boolean} */
  false(value, message) {
    return this.is(value, false, message)
  }
  /** @type {(actual: unknown, expected: unknown, message?: string) => boolean} */
  is(actual, expected, message) {
    return this.#assert(Object.is(actual, expected), `${show(actual)} is not ${show(expected)}`, message)
  }
  /** @type {(actual: unknown, unexpected: unknown, message?: string) => boolean} */
  not(actual, unexpected, message) {
    return this.#assert(!Object.is(actual, unexpected), `it is ${show(unexpected)}`, message)
  }
  /** @type {(actual: unknown, expected: unknown, message?: string) => boolean} */
  deepEqual(actual, expected, message) {
    return this.#assert(same(actual, expected), `${show(actual)} is not equal to ${show(expected)}`, message)
  }
  /** @type {(actual: unknown, unexpected: unknown, message?: string) => boolean} */
  notDeepEqual(actual, unexpected, message) {
    return this.#assert(!same(actual, unexpected), `it is equal to ${show(unexpected)}`, message)
  }
  /** @type {(actual: unknown, selector: unknown, message?: string) => boolean} */
  like(actual, selector, message) {
    return this.#assert(like(actual, selector), `${show(actual)} is not like ${show(selector)}`, message)
  }
  /** @type {(text: string, pattern: RegExp, message?: string) => boolean} */
  regex(text, pattern, message) {
    return this.#assert(pattern.test(text), `${show(text)} does not match ${pattern}`, message)
  }
  /** @type {(text: string, pattern: RegExp, message?: string) => boolean} */
  notRegex(text, pattern, message) {
    return this.#assert(!pattern.test(text), `${show(text)} matches ${pattern}`, message)
  }
  /** @type {(body: () => unknown, expected?: Expected, message?: string) => any} */
  throws(body, expected, message) {
    let error
    try {
      body()
    } catch (caught) {
      error = caught
    }
    return this.#thrown(error, expected, message)
  }
  /**
   * @type {(body: PromiseLike<unknown> | (() => PromiseLike<unknown>), expected?: Expected, message?: string) =>
   *   Promise<any>}
   */
  async throwsAsync(body, expected, message) {
    let error
    try {
      await (typeof body === 'function' ? body() : body)
    } catch (caught) {
      error = caught
    }
    return this.#thrown(error, expected, message)
  }
  /** @type {(body: () => unknown, message?: string) => boolean} */
  notThrows(body, message) {
    body()
    return this.#assert(true, '', message)
  }
  /** @type {(body: PromiseLike<unknown> | (() => PromiseLike<unknown>), message?: string) => Promise<boolean>} */
  async notThrowsAsync(body, message) {
    await (typeof body === 'function' ? body() : body)
    return this.#assert(true, '', message)
  }

  /**
   * @param {unknown} error
   * @param {Expected} [expected]
   * @param {string} [message]
   */
  #thrown(error, expected = {}, message) {
    this.#assert(
      error instanceof Error || (expected.any === true && error !== undefined),
      'nothing was thrown',
      message
    )
    const { code, name, message: text, stack } = /** @type {Error & { code?: unknown }} */ (error)
    if (expected.instanceOf) {
      this.#assert(error instanceof expected.instanceOf, `it is no ${expected.instanceOf.name}: ${stack}`, message)
    }
    if ('code' in expected) this.is(code, expected.code, message)
    if (expected.name !== undefined) this.is(name, expected.name, message)
    if (typeof expected.message === 'string') this.is(text, expected.message, message)
    if (expected.message instanceof RegExp) this.regex(text, expected.message, message)
    if (typeof expected.message === 'function') this.true(expected.message(text), message)
    return error
  }
}

/** @param {unknown} value */
function show(value) {
  if (typeof value === 'number') return Object.is(value, -0) ? '-0' : String(value)
  if (typeof value === 'bigint' || typeof value === 'function' || typeof value === 'symbol') return String(value)
  if (ArrayBuffer.isView(value)) return `${value.constructor.name} ${Array.prototype.slice.call(value, 0, 20)}`
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 300 ? `${text.slice(0, 300)}…` : text
}

/**
 * @param {any} a
 * @param {any} b
 * @returns {boolean}
 */
function same(a, b) {
  if (Object.is(a, b)) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (a.constructor !== b.constructor) return false
  if (a instanceof Map || a instanceof Set) return a.size === b.size && same([...a], [...b])
  if (a instanceof ArrayBuffer) return same(new Uint8Array(a), new Uint8Array(b))
  const keys = Object.keys(a)
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && same(a[key], b[key]))
}

/**
 * @param {any} actual
 * @param {any} selector
 * @returns {boolean}
 */
function like(actual, selector) {
  if (typeof selector !== 'object' || selector === null) return Object.is(actual, selector)
  return Object.keys(selector).every((key) => like(actual?.[key], selector[key]))
}
