// Batches: order, concurrency, progress, cancellation, and the other jobs when one fails.
import test from 'ava'
import fc from 'fast-check'
import { backends } from '../../support/backends.js'
import { bits, faultOf, normal } from '../../support/tensors.js'

const { attention } = backends[0]
const { BatchProcessor, BatchError } = attention

const pause = (/** @type {number} */ milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))

/** Yields inputs one by one, without a length. @param {number} count */
async function* upTo(count) {
  for (let input = 0; input < count; input++) yield input
}

/** A job that records how many jobs run at a time. */
function counted() {
  const counts = { running: 0, most: 0, started: 0 }
  const job = async (/** @type {number} */ input) => {
    counts.started++
    counts.most = Math.max(counts.most, ++counts.running)
    await pause((input * 7) % 5)
    counts.running--
    return input * 2
  }
  return { counts, job }
}

test('results are in the order of the inputs, and at most `concurrency` jobs run at a time', async (t) => {
  const property = fc.asyncProperty(
    fc.integer({ min: 0, max: 30 }),
    fc.integer({ min: 1, max: 8 }),
    fc.boolean(),
    async (count, concurrency, isAsync) => {
      const { counts, job } = counted()
      const processor = new BatchProcessor({ concurrency })
      const inputs = isAsync ? upTo(count) : Array.from({ length: count }, (_, input) => input)
      const results = await processor.process(/** @type {any} */ (inputs), job)
      t.deepEqual(
        results,
        Array.from({ length: count }, (_, input) => input * 2)
      )
      t.is(counts.most, Math.min(count, concurrency))
    }
  )
  await t.notThrowsAsync(fc.assert(property, { numRuns: 30 }))
})

test('a batch of layer calls gives the results of the single calls', async (t) => {
  const layer = new attention.SelfAttention({ numHeads: 2, headDim: 8, seed: 1 })
  const inputs = Array.from({ length: 20 }, (_, seed) => normal([1, 3 + (seed % 5), 16], seed))
  const results = await new BatchProcessor().process(inputs, (x, options) => layer.forwardAsync(x, options))
  t.deepEqual(
    results.map(({ output }) => bits(output)),
    inputs.map((x) => bits(layer.forward(x).output))
  )
})

test('a failing job loses no other result, and is reported with its error and index', async (t) => {
  const mistakes = [new Error('three'), new Error('five')]
  const job = async (/** @type {number} */ input) => {
    if (input === 3) throw mistakes[0]
    if (input === 5) throw mistakes[1]
    return input
  }
  const error = /** @type {import('@ruvector/attention').BatchError} */ (
    await t.throwsAsync(new BatchProcessor({ concurrency: 3 }).process(upTo(7), job))
  )
  t.true(error instanceof BatchError && error instanceof AggregateError)
  t.is(error.name, 'BatchError')
  t.deepEqual(error.errors, mistakes)
  t.deepEqual(
    error.results.map((result) => (result.status === 'fulfilled' ? result.value : 'failed')),
    [0, 1, 2, 'failed', 4, 'failed', 6]
  )
})

test('inputs that fail lose none of the earlier results', async (t) => {
  const mistake = new Error('no more')
  for (const count of [0, 1, 3, 4, 7]) {
    const places = Array.from({ length: count }, (_, place) => place)
    function* inputs() {
      yield* places
      throw mistake
    }
    const processor = new BatchProcessor({ concurrency: 3 })
    const error = /** @type {import('@ruvector/attention').BatchError} */ (
      await t.throwsAsync(processor.process(inputs(), async (input) => input * 2))
    )
    t.deepEqual(error.errors, [mistake])
    t.deepEqual(error.results, [
      ...places.map((input) => ({ status: 'fulfilled', value: input * 2 })),
      { status: 'rejected', reason: mistake }
    ])
    const stream = processor.stream(inputs(), async (input) => input * 2)
    for (const input of places) t.deepEqual(await stream.next(), { done: false, value: input * 2 })
    t.is(await t.throwsAsync(stream.next()), mistake)
    t.deepEqual(await stream.next(), { done: true, value: undefined })
  }
})

test('closing a stream while a result is pending cancels its job and starts no other', async (t) => {
  let cancelled = 0
  let started = 0
  const job = (/** @type {number} */ _input, /** @type {import('@ruvector/attention').JobOptions} */ { signal }) => {
    started++
    return new Promise((_, reject) =>
      signal.addEventListener('abort', () => {
        cancelled++
        reject(signal.reason)
      })
    )
  }
  const stream = new BatchProcessor({ concurrency: 1 }).stream(upTo(3), job)
  const next = stream.next()
  await new Promise((resolve) => setTimeout(resolve, 5))
  t.deepEqual(await stream.return?.(), { done: true, value: undefined })
  t.deepEqual(await next, { done: true, value: undefined })
  t.deepEqual([started, cancelled], [1, 1])
  // The same while the next input is still pending.
  /** @type {(value: number) => void} */
  let give = () => {}
  async function* late() {
    yield await new Promise((resolve) => (give = resolve))
  }
  const other = new BatchProcessor({ concurrency: 1 }).stream(late(), job)
  const pending = other.next()
  await new Promise((resolve) => setTimeout(resolve, 5))
  const closed = other.return?.()
  give(1)
  t.deepEqual(await pending, { done: true, value: undefined })
  t.deepEqual(await closed, { done: true, value: undefined })
  t.is(started, 1)
})

test('a stream continues after a failed job', async (t) => {
  const stream = new BatchProcessor({ concurrency: 2 }).stream(upTo(4), async (input) => {
    if (input === 1) throw new Error('one')
    return input
  })
  t.deepEqual(await stream.next(), { done: false, value: 0 })
  await t.throwsAsync(stream.next(), { message: 'one' })
  t.deepEqual(await stream.next(), { done: false, value: 2 })
  t.deepEqual(await stream.next(), { done: false, value: 3 })
  t.deepEqual(await stream.next(), { done: true, value: undefined })
  t.deepEqual(await stream.next(), { done: true, value: undefined })
})

test('a stream reads inputs only shortly ahead of its consumer', async (t) => {
  let taken = 0
  async function* inputs() {
    for (;;) yield taken++
  }
  const read = []
  for await (const value of new BatchProcessor({ concurrency: 3 }).stream(inputs(), async (input) => input)) {
    read.push(value)
    await pause(1)
    t.true(taken <= read.length + 3, `${taken} taken at ${read.length}`)
    if (read.length === 20) break
  }
  t.deepEqual(read, [...Array(20).keys()])
})

test('several concurrent readers of one stream get every result once, in order', async (t) => {
  const stream = new BatchProcessor({ concurrency: 2 }).stream(upTo(9), async (input) => input)
  const results = await Promise.all(Array.from({ length: 10 }, () => stream.next()))
  t.deepEqual(
    results.map(({ value }) => value),
    [0, 1, 2, 3, 4, 5, 6, 7, 8, undefined]
  )
})

test('leaving a loop early closes the inputs and cancels the running jobs', async (t) => {
  let closed = false
  /** @type {AbortSignal[]} */
  const signals = []
  async function* inputs() {
    try {
      for (let input = 0; ; input++) yield input
    } finally {
      closed = true
    }
  }
  const stream = new BatchProcessor({ concurrency: 4 }).stream(inputs(), async (input, { signal }) => {
    signals.push(/** @type {AbortSignal} */ (signal))
    await pause(input === 0 ? 0 : 1000)
    return input
  })
  for await (const value of stream) {
    t.is(value, 0)
    break
  }
  t.true(closed)
  t.true(signals.length > 1 && signals.every(({ aborted }) => aborted))
})

test('a cancelled batch rejects with the reason, cancels its jobs, and reads no further input', async (t) => {
  const controller = new AbortController()
  const reason = new Error('enough')
  const { counts } = counted()
  const q = normal([1, 8, 1024, 64], 1)
  const batch = new BatchProcessor({ concurrency: 2 }).process(
    upTo(100),
    (_, options) => {
      const job = attention.scaledDotProductAttentionAsync(q, q, q, options)
      if (++counts.started === 3) controller.abort(reason)
      return job
    },
    { signal: controller.signal }
  )
  t.is(await t.throwsAsync(batch), reason)
  await pause(50)
  t.is(counts.started, 3)
  const late = new BatchProcessor().process([1], async () => t.fail('no job may run'), { signal: controller.signal })
  t.is(await t.throwsAsync(late), reason)
})

test('progress counts inputs and the fractions of their jobs, and only reports the end if the number of inputs is unknown', async (t) => {
  /** @type {number[]} */
  const heard = []
  const listen = (/** @type {number} */ fraction) => heard.push(fraction)
  const processor = new BatchProcessor({ concurrency: 1 })
  const job = async (/** @type {number} */ _, /** @type {import('@ruvector/attention').AsyncOptions} */ options) =>
    options.onProgress?.(0.5)
  await processor.process([1, 2], job, { onProgress: listen })
  t.deepEqual(heard, [0.25, 0.5, 0.75, 1])
  heard.length = 0
  await processor.process(new Set([1, 2]), job, { onProgress: listen })
  t.deepEqual(heard, [0.25, 0.5, 0.75, 1])
  heard.length = 0
  await processor.process(upTo(3), job, { onProgress: listen })
  t.deepEqual(heard, [1])
})

test('a batch whose inputs fail ends with the results so far', async (t) => {
  async function* inputs() {
    yield 1
    throw new Error('no more')
  }
  const error = /** @type {import('@ruvector/attention').BatchError} */ (
    await t.throwsAsync(new BatchProcessor({ concurrency: 1 }).process(inputs(), async (input) => input))
  )
  t.deepEqual(
    error.results.map(({ status }) => status),
    ['fulfilled', 'rejected']
  )
})

test('errors name invalid options and arguments', async (t) => {
  const any = (/** @type {unknown} */ value) => /** @type {any} */ (value)
  for (const concurrency of [0, -1, 1.5, NaN, '2']) {
    t.is(faultOf(t, () => new BatchProcessor({ concurrency: any(concurrency) })).argument, 'concurrency')
  }
  t.is(faultOf(t, () => new BatchProcessor(any({ workers: 2 }))).argument, 'workers')
  const processor = new BatchProcessor()
  t.true(processor.concurrency >= 2)
  t.is(faultOf(t, () => processor.stream(any(5), async () => 1)).argument, 'inputs')
  t.is(faultOf(t, () => processor.stream([1], any(5))).argument, 'job')
  t.is(faultOf(t, () => processor.stream([1], async () => 1, any({ signal: 1 }))).argument, 'signal')
  await t.throwsAsync(
    processor.process(any(null), async () => 1),
    { message: /inputs: expected an iterable/ }
  )
})
