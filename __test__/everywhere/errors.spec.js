// Every invalid input: an AttentionError with the right fields, nothing changed, and the next call on the same instance
// works.
import test from 'ava'
import { AttentionError } from '@ruvector/attention'
import { onBothBackends } from '../support/backends.js'
import { bits, faultOf, normal } from '../support/tensors.js'

/** Type of deliberately wrong arguments. @typedef {any} Any */

const q = normal([1, 4, 3, 8], 1)
const k = normal([1, 2, 5, 8], 2)
const v = normal([1, 2, 5, 6], 3)
const floats = (/** @type {number[]} */ shape) => normal(shape, 4)

/** @type {[title: string, arguments: Any[], code: string, argument: string, expected?: RegExp, actual?: RegExp][]} */
const wrongTensors = [
  ['no tensors at all', [], 'DTYPE', 'q', /tensor/, /undefined/],
  ['null for a tensor', [q, null, v], 'DTYPE', 'k', /tensor/, /null/],
  ['a bare typed array for a tensor', [q, k, v.data], 'DTYPE', 'v', /tensor/, /Float32Array/],
  ['a number for a tensor', [3, k, v], 'DTYPE', 'q', /tensor/, /3/],
  ['a function for a tensor', [q, k, () => v], 'DTYPE', 'v', /tensor/, /function/],
  ['an empty object for a tensor', [{}, k, v], 'DTYPE', 'q', /Float32Array/, /undefined/],
  ['data in a plain array', [{ data: [1, 2], shape: [2] }, k, v], 'DTYPE', 'q', /Float32Array/, /array/],
  [
    'data in doubles',
    [q, { data: new Float64Array(80), shape: k.shape }, v],
    'DTYPE',
    'k',
    /Float32Array/,
    /Float64Array/
  ],
  ['data in bytes', [q, { data: new Uint8Array(80), shape: k.shape }, v], 'DTYPE', 'k', /Float32Array/, /Uint8Array/],
  [
    'data that only inherits from Float32Array',
    [q, { data: Object.create(Float32Array.prototype), shape: [1] }, v],
    'DTYPE',
    'k',
    /Float32Array/
  ],
  ['no shape', [q, { data: k.data }, v], 'SHAPE', 'k', /array of dimensions/, /undefined/],
  ['a shape that is a number', [q, { data: k.data, shape: 80 }, v], 'SHAPE', 'k', /array of dimensions/, /80/],
  ['a shape of texts', [q, { data: k.data, shape: ['80'] }, v], 'SHAPE', 'k', /non-negative integers/, /"80"/],
  ['a negative dimension', [q, { data: k.data, shape: [-1, -80] }, v], 'SHAPE', 'k', /non-negative/, /\[-1, -80\]/],
  ['a broken dimension', [q, { data: k.data, shape: [2.5, 32] }, v], 'SHAPE', 'k', /integers/, /2\.5/],
  ['a dimension of NaN', [q, { data: k.data, shape: [NaN] }, v], 'SHAPE', 'k', /integers/, /NaN/],
  ['an infinite dimension', [q, { data: k.data, shape: [Infinity] }, v], 'SHAPE', 'k', /integers/, /Infinity/],
  ['a dimension beyond 2^53', [q, { data: k.data, shape: [2 ** 60, 0] }, v], 'SHAPE', 'k', /integers/],
  [
    'nine dimensions',
    [q, { data: new Float32Array(1), shape: Array(9).fill(1) }, v],
    'SHAPE',
    'k',
    /8 dimensions/,
    /9/
  ],
  ['too little data', [q, { data: k.data.subarray(1), shape: k.shape }, v], 'SHAPE', 'k', /80 elements/, /79/],
  ['too much data', [q, k, { data: new Float32Array(61), shape: v.shape }], 'SHAPE', 'v', /60 elements/, /61/],
  ['a scalar', [{ data: new Float32Array(1), shape: [] }, k, v], 'SHAPE', 'q', /\[B, H, L, D\] or \[B, L, D\]/, /\[\]/],
  ['two dimensions', [q, floats([2, 3]), v], 'SHAPE', 'k', /\[B, G, S, D\]/, /\[2, 3\]/],
  ['five dimensions', [floats([1, 1, 1, 1, 8]), k, v], 'SHAPE', 'q', /\[B, H, L, D\]/, /\[1, 1, 1, 1, 8\]/],
  ['ranks that differ', [floats([1, 3, 8]), k, v], 'SHAPE', 'k'],
  ['batches that differ', [q, floats([2, 2, 5, 8]), v], 'SHAPE', 'k', /1/, /2, 2, 5, 8/],
  ['values of another batch', [q, k, floats([2, 2, 5, 6])], 'SHAPE', 'v'],
  ['head sizes that differ', [q, floats([1, 2, 5, 7]), v], 'SHAPE', 'k', /8/, /7/],
  ['heads that do not divide', [q, floats([1, 3, 5, 8]), floats([1, 3, 5, 6])], 'SHAPE', 'k', /4/, /3/],
  ['more key heads than query heads', [q, floats([1, 8, 5, 8]), floats([1, 8, 5, 6])], 'SHAPE', 'k'],
  ['no key heads', [q, floats([1, 0, 5, 8]), floats([1, 0, 5, 6])], 'SHAPE', 'k'],
  ['values of other heads than the keys', [q, k, floats([1, 4, 5, 6])], 'SHAPE', 'v'],
  ['values of another length than the keys', [q, k, floats([1, 2, 4, 6])], 'SHAPE', 'v', /5/, /4/]
]

const bytes = (/** @type {number[]} */ shape) => ({ data: new Uint8Array(shape.reduce((a, b) => a * b, 1)), shape })

/** @type {[title: string, options: Any, code: string, argument: string, expected?: RegExp, actual?: RegExp][]} */
const wrongOptions = [
  ['options that are a number', 5, 'OPTION', 'options', /object/, /5/],
  ['options that are a function', () => {}, 'OPTION', 'options', /object/, /function/],
  ['options that are a list', [1], 'OPTION', 'options', /object/, /array/],
  ['a misspelt option', { isCausal: true }, 'OPTION', 'isCausal', /causal/],
  ['an option in another spelling', { query_offset: 1 }, 'OPTION', 'query_offset', /queryOffset/],
  ['a misspelt option whose value is a tensor', { masks: bytes([5]) }, 'OPTION', 'masks', /mask/],
  ['a misspelt option whose value is an array', { kvLength: Int32Array.of(1) }, 'OPTION', 'kvLength', /kvLengths/],
  ['an option of another function', { stage: 'scores' }, 'OPTION', 'stage'],
  ['a causal that is a text', { causal: 'yes' }, 'OPTION', 'causal', /boolean/, /yes/],
  ['a causal that is a number', { causal: 1 }, 'OPTION', 'causal', /boolean/, /1/],
  ['a scale of NaN', { scale: NaN }, 'OPTION', 'scale', /finite/, /NaN/],
  ['an infinite scale', { scale: Infinity }, 'OPTION', 'scale', /finite/, /Infinity/],
  ['a scale beyond 32 bits', { scale: 1e300 }, 'OPTION', 'scale', /finite/],
  ['a scale that is a text', { scale: '0.5' }, 'OPTION', 'scale', /number/, /0\.5/],
  ['a scale that is a function', { scale: () => 1 }, 'OPTION', 'scale', /number/, /function/],
  ['a scale that is a bigint', { scale: 1n }, 'OPTION', 'scale', /number/, /1n/],
  ['a scale that is a symbol', { scale: Symbol('s') }, 'OPTION', 'scale', /number/, /symbol/],
  ['a scale that is an object', { scale: {} }, 'OPTION', 'scale', /number/],
  ['a negative softcap', { softcap: -1 }, 'OPTION', 'softcap', /at least 0/, /-1/],
  ['a softcap of NaN', { softcap: NaN }, 'OPTION', 'softcap', /finite/, /NaN/],
  ['a dropout of 1', { dropout: 1 }, 'OPTION', 'dropout', /less than 1/, /1/],
  ['a negative dropout', { dropout: -0.1 }, 'OPTION', 'dropout', /at least 0/],
  ['a dropout of NaN', { dropout: NaN }, 'OPTION', 'dropout', /number/, /NaN/],
  ['a negative seed', { seed: -1 }, 'OPTION', 'seed', /2\^53/, /-1/],
  ['a seed that is no integer', { seed: 1.5 }, 'OPTION', 'seed', /integer/, /1\.5/],
  ['a seed beyond 2^53', { seed: 2 ** 53 }, 'OPTION', 'seed', /2\^53/],
  ['a layout that there is not', { layout: 'lbhd' }, 'OPTION', 'layout', /bhld.*blhd/, /lbhd/],
  ['a layout in capitals', { layout: 'BHLD' }, 'OPTION', 'layout', /bhld/, /BHLD/],
  ['a window of one side', { window: [1] }, 'OPTION', 'window', /two integers/],
  ['a window of three sides', { window: [1, 2, 3] }, 'OPTION', 'window', /two integers/],
  ['a window that is a number', { window: 3 }, 'OPTION', 'window', /two integers/, /3/],
  ['a window below -1', { window: [-2, 0] }, 'OPTION', 'window', /-1/, /-2/],
  ['a window of NaN', { window: [NaN, 0] }, 'OPTION', 'window', /integers/, /NaN/],
  ['a window of lists', { window: [[1], [2]] }, 'OPTION', 'window', /integers/],
  ['a window with a hole', { window: Array(2) }, 'OPTION', 'window', /integers/],
  ['topWeights of 0', { topWeights: 0 }, 'OPTION', 'topWeights', /1/, /0/],
  ['more topWeights than keys', { topWeights: 6 }, 'OPTION', 'topWeights', /5/, /6/],
  ['topWeights of a billion', { topWeights: 1e9 }, 'OPTION', 'topWeights'],
  ['topWeights that are no integer', { topWeights: 1.5 }, 'OPTION', 'topWeights', /integer/, /1\.5/],
  ['topWeights that are true', { topWeights: true }, 'OPTION', 'topWeights', /integer/, /true/],
  ['weights that are a number', { weights: 1 }, 'OPTION', 'weights', /boolean/, /1/],
  ['a logSumExp that is a text', { logSumExp: 'yes' }, 'OPTION', 'logSumExp', /boolean/, /yes/],
  ['a queryOffset that is no integer', { queryOffset: 0.5 }, 'OPTION', 'queryOffset', /integer/, /0\.5/],
  ['a queryOffset beyond 32 bits', { queryOffset: 2 ** 31 }, 'OPTION', 'queryOffset', /32 bits/],
  ['a queryOffset in a list of texts', { queryOffset: ['1'] }, 'DTYPE', 'queryOffset[0]', /number/, /"1"/],
  ['a queryOffset that is a text', { queryOffset: '1' }, 'DTYPE', 'queryOffset', /Int32Array/, /"1"/],
  ['too many queryOffsets', { queryOffset: Int32Array.of(1, 2) }, 'SHAPE', 'queryOffset', /1/, /2/],
  ['kvLengths with a fraction', { kvLengths: [2.5] }, 'OPTION', 'kvLengths[0]', /integer/, /2\.5/],
  ['kvLengths that are floats', { kvLengths: Float32Array.of(5) }, 'DTYPE', 'kvLengths', /Int32Array/, /Float32Array/],
  ['too many kvLengths', { kvLengths: Int32Array.of(5, 5) }, 'SHAPE', 'kvLengths', /1/, /2/],
  ['no kvLengths', { kvLengths: new Int32Array(0) }, 'SHAPE', 'kvLengths', /1/, /0/],
  ['a kvLength beyond the keys', { kvLengths: Int32Array.of(6) }, 'OPTION', 'kvLengths', /5/, /6/],
  ['a negative kvLength', { kvLengths: Int32Array.of(-1) }, 'OPTION', 'kvLengths', /0/, /-1/],
  ['a mask that is a bare array', { mask: new Uint8Array(5) }, 'DTYPE', 'mask', /tensor/, /Uint8Array/],
  [
    'a mask of doubles',
    { mask: { data: new Float64Array(5), shape: [5] } },
    'DTYPE',
    'mask',
    /Uint8Array, Float32Array or a list/,
    /Float64Array/
  ],
  [
    'a mask of integers',
    { mask: { data: Int32Array.of(1, 0, 2, 1, 1), shape: [5] } },
    'OPTION',
    'mask',
    /0 and 1/,
    /^2 at index 2/
  ],
  ['a mask that is a text', { mask: 'causal' }, 'DTYPE', 'mask', /tensor/, /"causal"/],
  [
    'a mask whose data is not of its shape',
    { mask: { data: new Uint8Array(4), shape: [5] } },
    'SHAPE',
    'mask',
    /5/,
    /4/
  ],
  ['a mask that does not broadcast', { mask: bytes([4]) }, 'SHAPE', 'mask', /broadcast/, /\[4\]/],
  ['a mask of too many rows', { mask: floats([4, 5]) }, 'SHAPE', 'mask', /broadcast/, /\[4, 5\]/],
  ['a mask with a head too few', { mask: bytes([3, 3, 5]) }, 'SHAPE', 'mask', /broadcast/],
  ['a mask without entries', { mask: bytes([0]) }, 'SHAPE', 'mask'],
  ['a mask that is a scalar', { mask: bytes([]) }, 'SHAPE', 'mask'],
  ['a mask of five dimensions', { mask: bytes([1, 1, 1, 1, 5]) }, 'SHAPE', 'mask'],
  ['an out that is a list', { out: [1] }, 'DTYPE', 'out', /Float32Array/, /array/],
  ['an out of doubles', { out: new Float64Array(72) }, 'DTYPE', 'out', /Float32Array/, /Float64Array/],
  ['an out that is too short', { out: new Float32Array(71) }, 'SHAPE', 'out', /72/, /71/],
  ['an out that is too long', { out: new Float32Array(73) }, 'SHAPE', 'out', /72/, /73/]
]

onBothBackends((kind, attention) => {
  const { scaledDotProductAttention, attentionWeights, softmax, linear, createTensor, reshape } = attention
  const call = /** @type {(...given: Any[]) => Any} */ (scaledDotProductAttention)
  const expected = bits(call(q, k, v).output)

  /**
   * @type {(t: import('ava').ExecutionContext, run: () => unknown, code: string, argument: string, expected?: RegExp,
   *   actual?: RegExp) => void}
   */
  function refuses(t, run, code, argument, wanted = /./, found = /./) {
    const inputs = [q, k, v].map(bits)
    const fault = faultOf(t, run)
    t.is(String(fault.code), code, fault.message)
    t.is(fault.argument, argument, fault.message)
    t.regex(fault.expected ?? '', wanted)
    t.regex(fault.actual ?? '', found)
    // options.spec.js tests the rest of the message about an unknown option.
    if (fault.actual === 'an unknown name') t.true(fault.message.startsWith(`unknown option '${argument}'; `))
    else t.is(fault.message, `${argument}: expected ${fault.expected}, got ${fault.actual}`)
    t.deepEqual([q, k, v].map(bits), inputs)
    t.deepEqual(bits(call(q, k, v).output), expected)
  }

  for (const [title, given, ...fault] of wrongTensors) {
    test(`${kind}: attention rejects ${title}, and the next call works`, (t) => {
      refuses(t, () => call(...given), ...fault)
    })
  }

  for (const [title, options, ...fault] of wrongOptions) {
    test(`${kind}: attention rejects ${title}, and the next call works`, (t) => {
      refuses(t, () => call(q, k, v, options), ...fault)
    })
  }

  test(`${kind}: a rejected call does not touch out`, (t) => {
    const out = new Float32Array(72).fill(7)
    for (const options of [
      { out, softcap: -1 },
      { out, mask: bytes([4]) },
      { out, unknown: 1 }
    ]) {
      faultOf(t, () => call(q, k, v, options))
      t.true(out.every((value) => value === 7))
    }
  })

  test(`${kind}: an out that overlaps an input is rejected, and an adjacent one is not`, (t) => {
    const memory = new Float32Array(1000)
    const inside = { data: memory.subarray(0, 96), shape: q.shape }
    refuses(
      t,
      () => call(inside, k, v, { out: memory.subarray(90, 162) }),
      'OPTION',
      'out',
      /does not overlap an input/
    )
    refuses(t, () => call(q, k, v, { out: memory.subarray(0, 72), mask: { data: memory.subarray(71, 76), shape: [5] } }), 'OPTION', 'out') // prettier-ignore
    t.is(call(inside, k, v, { out: memory.subarray(96, 168) }).output.data.byteOffset, 96 * 4)
  })

  test(`${kind}: options that are undefined or null are absent`, (t) => {
    const names =
      'layout causal queryOffset window scale softcap dropout seed weights topWeights logSumExp mask kvLengths out'
    for (const absent of [undefined, null]) {
      const options = Object.fromEntries(names.split(' ').map((name) => [name, absent]))
      t.deepEqual(bits(call(q, k, v, options).output), expected)
      t.deepEqual(bits(call(q, k, v, absent).output), expected)
      t.deepEqual(Object.keys(call(q, k, v, options)), ['output'])
    }
  })

  test(`${kind}: each option is read exactly once, including inherited ones`, (t) => {
    /** @type {Record<string, number>} */
    const reads = {}
    const values = {
      causal: true,
      weights: true,
      mask: bytes([5]),
      out: new Float32Array(72),
      topWeights: 2,
      layout: 'bhld'
    }
    const options = new Proxy(values, {
      get(target, name) {
        reads[String(name)] = (reads[String(name)] ?? 0) + 1
        return Reflect.get(target, name)
      }
    })
    call(q, k, v, options)
    t.deepEqual(reads, { causal: 1, weights: 1, mask: 1, out: 1, topWeights: 1, layout: 1 })
    t.deepEqual(
      bits(call(q, k, v, Object.create({ causal: true })).output),
      bits(call(q, k, v, { causal: true }).output)
    )
  })

  test(`${kind}: a getter that re-enters the API, or throws, affects no call`, (t) => {
    const shape = [1, 4, 3, 8]
    const nested = {
      get causal() {
        call(normal([2, 7, 16], 1), normal([2, 9, 16], 1), normal([2, 9, 2], 1), { mask: bytes([9]) })
        return true
      }
    }
    t.deepEqual(bits(call({ data: q.data, shape }, k, v, nested).output), bits(call(q, k, v, { causal: true }).output))
    const broken = {
      get causal() {
        throw new RangeError('mine')
      }
    }
    t.throws(() => call(q, k, v, broken), { instanceOf: RangeError, message: 'mine' })
    t.deepEqual(bits(call(q, k, v).output), expected)
  })

  test(`${kind}: a shape that changes after the call, or while it is read, has no effect`, (t) => {
    const shape = [1, 4, 3, 8]
    const { output } = call({ data: q.data, shape }, k, v)
    shape[0] = 9
    t.deepEqual(output.shape, [1, 4, 3, 6])
    let reads = 0
    const moving = new Proxy([1, 4, 3, 8], {
      get(target, name) {
        if (name === '0') return reads++ === 0 ? 1 : 9
        return Reflect.get(target, name)
      }
    })
    t.deepEqual(call({ data: q.data, shape: moving }, k, v).output.shape, [1, 4, 3, 6])
  })

  test(`${kind}: results too large for memory throw MEMORY`, (t) => {
    const long = { data: new Float32Array(2 ** 20), shape: [1, 1, 2 ** 20, 1] }
    const fault = faultOf(t, () => call(long, long, long, { weights: true }))
    t.is(fault.code, 'MEMORY')
    t.is(fault.argument, 'weights')
    t.regex(fault.actual ?? '', /1099511627776 elements/)
    const wide = { data: new Float32Array(0), shape: [2 ** 50, 0] }
    // WebAssembly cannot count such dimensions at all.
    const code = kind === 'native' ? 'MEMORY' : 'SHAPE'
    t.is(faultOf(t, () => linear(wide, { data: new Float32Array(0), shape: [2 ** 40, 0] })).code, code)
    t.deepEqual(bits(call(q, k, v).output), expected)
  })

  test(`${kind}: a detached buffer is rejected as data of the wrong length`, (t) => {
    const detached = { data: q.data.slice(), shape: q.shape }
    structuredClone(detached.data, { transfer: [detached.data.buffer] })
    refuses(t, () => call(detached, k, v), 'SHAPE', 'q', /96 elements/, /0/)
  })

  test(`${kind}: attentionWeights rejects options that it does not take`, (t) => {
    const weights = /** @type {(...given: Any[]) => Any} */ (attentionWeights)
    refuses(
      t,
      () => weights(q, k, { stage: 'logits' }),
      'OPTION',
      'stage',
      /scores.*softcapped.*biased.*weights/,
      /logits/
    )
    refuses(t, () => weights(q, k, { weights: true }), 'OPTION', 'weights', /no request/)
    refuses(t, () => weights(q, k, { topWeights: 2 }), 'OPTION', 'topWeights', /no request/)
    refuses(t, () => weights(q, k, { stages: 'scores' }), 'OPTION', 'stages', /stage/)
    refuses(t, () => weights(q, floats([1, 2, 5, 9])), 'SHAPE', 'k')
    refuses(t, () => weights(q), 'DTYPE', 'k')
    refuses(t, () => weights(q, k, { out: new Float32Array(3) }), 'SHAPE', 'out', /60/, /3/)
  })

  test(`${kind}: softmax and linear reject inputs that do not fit`, (t) => {
    const x = floats([2, 8])
    const product = /** @type {(...given: Any[]) => Any} */ (linear)
    refuses(t, () => softmax(/** @type {Any} */ ([1, 2])), 'DTYPE', 'x')
    refuses(t, () => softmax({ data: new Float32Array(3), shape: [2] }), 'SHAPE', 'x')
    refuses(t, () => product(x, floats([3, 7])), 'SHAPE', 'weight', /8/, /7/)
    refuses(t, () => product(x, floats([3, 8, 1])), 'SHAPE', 'weight')
    refuses(t, () => product(x, floats([8])), 'SHAPE', 'weight')
    refuses(t, () => product(x, floats([3, 8]), floats([4])), 'SHAPE', 'bias', /3/, /4/)
    refuses(t, () => product(x, floats([3, 8]), floats([3, 1])), 'SHAPE', 'bias')
    refuses(t, () => product(x), 'DTYPE', 'weight')
    refuses(t, () => product(x, floats([3, 8]), [1, 2, 3]), 'DTYPE', 'bias')
  })

  test(`${kind}: layers reject invalid configurations`, (t) => {
    const { MultiHeadAttention, SelfAttention, CrossAttention } = attention
    const make =
      (/** @type {Any} */ config, /** @type {Any} */ Layer = MultiHeadAttention) =>
      () =>
        new Layer(config)
    const config = { numHeads: 4, headDim: 8 }
    refuses(t, make(undefined), 'OPTION', 'config', /object/, /undefined/)
    refuses(t, make('big'), 'OPTION', 'config', /object/, /"big"/)
    refuses(t, make({ headDim: 8 }), 'OPTION', 'numHeads', /at least 1/, /nothing/)
    refuses(t, make({ numHeads: 4 }), 'OPTION', 'headDim', /at least 1/, /nothing/)
    refuses(t, make({ ...config, numHeads: 0 }), 'OPTION', 'numHeads', /at least 1/, /0/)
    refuses(t, make({ ...config, headDim: -8 }), 'OPTION', 'headDim', /at least 1/, /-8/)
    refuses(t, make({ ...config, headDim: 1.5 }), 'OPTION', 'headDim', /integer/, /1\.5/)
    refuses(t, make({ ...config, headDim: NaN }), 'OPTION', 'headDim', /integer/, /NaN/)
    refuses(t, make({ ...config, kvHeads: 3 }), 'OPTION', 'kvHeads', /divisor/, /3/)
    refuses(t, make({ ...config, dropout: 1 }), 'OPTION', 'dropout', /less than 1/)
    refuses(t, make({ ...config, useBias: 1 }), 'OPTION', 'useBias', /boolean/, /1/)
    refuses(t, make({ ...config, seed: -1 }), 'OPTION', 'seed')
    refuses(t, make({ ...config, embedDim: 32 }), 'OPTION', 'embedDim', /headDim|modelDim/)
    refuses(t, make({ ...config, rotary: 3 }), 'OPTION', 'rotary', /object/, /3/)
    refuses(t, make({ ...config, rotary: { bass: 1 } }), 'OPTION', 'rotary.bass', /base/)
    refuses(t, make({ ...config, rotary: { dim: 3 } }), 'OPTION', 'rotary.dim', /even/, /3/)
    refuses(t, make({ ...config, headDim: 2 ** 40 }), 'OPTION', 'headDim')
    refuses(t, make({ ...config, kDim: 9 }, SelfAttention), 'OPTION', 'kDim')
    refuses(t, make({ ...config, kDim: 9, vDim: 8 }, CrossAttention), 'OPTION', 'vDim')
  })

  test(`${kind}: layers reject options of other functions, and inputs that are not tensors`, (t) => {
    const layer = new attention.SelfAttention({ numHeads: 2, headDim: 4 })
    const x = floats([1, 3, 8])
    const forward =
      (/** @type {Any[]} */ ...given) =>
      () =>
        /** @type {Any} */ (layer).forward(...given)
    const cross = new attention.CrossAttention({ numHeads: 2, headDim: 4 })
    refuses(t, forward(x, { layout: 'bhld' }), 'OPTION', 'layout')
    refuses(t, forward(x, { topWeights: 1 }), 'OPTION', 'topWeights')
    refuses(t, forward(x, { averageWeight: true }), 'OPTION', 'averageWeight', /averageWeights/)
    refuses(t, forward(x, { softcap: -1 }), 'OPTION', 'softcap')
    refuses(t, forward(), 'DTYPE', 'x')
    refuses(t, () => /** @type {Any} */ (cross).forward(x), 'DTYPE', 'context')
    refuses(t, () => layer.train(/** @type {Any} */ ('yes')), 'OPTION', 'mode', /boolean/, /"yes"/)
    t.is(layer.forward(x).output.data.length, 24)
    layer.dispose()
    cross.dispose()
  })

  test(`${kind}: createTensor uses a Float32Array directly and copies any other list of numbers`, (t) => {
    const data = Float32Array.of(1, 2, 3, 4)
    t.is(createTensor(data, [2, 2]).data, data)
    for (const list of [
      [1, 2, 3, 4],
      Float64Array.of(1, 2, 3, 4),
      Uint8Array.of(1, 2, 3, 4),
      { length: 4, 0: 1, 1: 2, 2: 3, 3: 4 }
    ]) {
      t.deepEqual(createTensor(list, [4, 1]), { data, shape: [4, 1] })
    }
    const shape = [2, 2]
    const tensor = createTensor(data, shape)
    shape[0] = 7
    t.deepEqual(tensor.shape, [2, 2])
    t.deepEqual(createTensor([7], []), { data: Float32Array.of(7), shape: [] })
    t.deepEqual(createTensor([], [0, 5]), { data: new Float32Array(0), shape: [0, 5] })
  })

  test(`${kind}: createTensor rejects wrong lengths and entries`, (t) => {
    const create = /** @type {(...given: Any[]) => Any} */ (createTensor)
    refuses(t, () => create(new Float32Array(3), [2, 2]), 'SHAPE', 'data', /4 elements/, /3/)
    refuses(t, () => create([1, 2, 3], [2, 2]), 'SHAPE', 'data', /4 elements/, /3/)
    refuses(t, () => create([1, 2], [-2]), 'SHAPE', 'shape', /non-negative/)
    refuses(t, () => create([1, 2]), 'SHAPE', 'shape', /array/, /undefined/)
    refuses(t, () => create([1, '2'], [2]), 'DTYPE', 'data[1]', /number/, /"2"/)
    refuses(t, () => create([1, , 3], [3]), 'DTYPE', 'data[1]', /number/, /undefined/) // oxlint-disable-line no-sparse-arrays
    refuses(t, () => create([[1], [2]], [2]), 'DTYPE', 'data[0]', /number/, /array/)
    refuses(t, () => create(BigInt64Array.of(1n), [1]), 'DTYPE', 'data[0]', /number/, /1n/)
    refuses(t, () => create('12', [2]), 'DTYPE', 'data', /list of numbers/, /"12"/)
    refuses(t, () => create(null, [0]), 'DTYPE', 'data', /list of numbers/, /null/)
  })

  test(`${kind}: reshape shares the data and rejects another number of elements`, (t) => {
    t.is(reshape(q, [12, 8]).data, q.data)
    t.deepEqual(reshape(q, [12, 8]).shape, [12, 8])
    t.deepEqual(reshape(bytes([6]), [2, 3]).shape, [2, 3])
    refuses(t, () => reshape(q, [12, 9]), 'SHAPE', 'shape', /108 elements/, /96/)
    refuses(t, () => reshape(q, [-1, 8]), 'SHAPE', 'shape')
    refuses(t, () => reshape(/** @type {Any} */ (q.data), [96]), 'DTYPE', 'tensor')
  })
})

test('an AttentionError is an Error with a name, and its text is its message', (t) => {
  const error = new AttentionError('SHAPE', { argument: 'q', expected: 'four', actual: 'three' })
  t.true(error instanceof Error)
  t.is(String(error), 'AttentionError: q: expected four, got three')
  t.regex(error.stack ?? '', /errors\.spec|AttentionError/)
  t.deepEqual(Object.keys(error).sort(), ['actual', 'argument', 'code', 'expected'])
})
