// Mutates valid arguments: other types, getters, proxies, and arrays over every kind of memory.

import { createContext, runInContext } from 'node:vm'

/** @typedef {import('./world.mjs').World} World */

/** Arrays, objects and errors of another realm. */
const realm = runInContext(
  '({ Array, Object, Float32Array, Int32Array, Uint8Array, ArrayBuffer })',
  createContext(Object.create(null))
)

class Floats extends Float32Array {
  /** @override */
  get length() {
    return super.length
  }

  static get [Symbol.species]() {
    return Float64Array
  }
}
class Ints extends Int32Array {}
class Bytes extends Uint8Array {
  /** @override */
  subarray() {
    return /** @type {any} */ (this)
  }
}
/** @type {Record<string, any>} */
const subclasses = { Float32Array: Floats, Int32Array: Ints, Uint8Array: Bytes }
/** @type {Record<string, any>} */
const classes = { Float32Array, Int32Array, Uint8Array }

/**
 * Numbers that no dimension and few options accept. Moderate sizes are excluded, so that nothing allocates gigabytes.
 */
const NUMBERS = [-0, -1, 0.5, -2.5, NaN, Infinity, -Infinity, 1e-320, 1e-40, 1e38, 1e39, 1e308, -1e308, 33]
const SIZES = [2 ** 40, 2 ** 44, 2 ** 53 - 1, 2 ** 53, 2 ** 60]
const NAMES = [
  '__proto__',
  'constructor',
  'toString',
  'valueOf',
  'hasOwnProperty',
  'prototype',
  'then',
  'length',
  '',
  'x'
]
const TEXTS = [...NAMES, '1', 'true', 'null', 'NaN', '\ud800', 'a\udfffb', '\u0000', 'é😀', '"\\', 'x'.repeat(5000)]

/** @param {number} depth */
function deep(depth) {
  /** @type {any} */
  let object = {}
  for (let level = 0; level < depth; level++) object = level % 2 ? { object } : [object]
  return object
}

function cyclic() {
  /** @type {any} */
  const object = { shape: [1] }
  object.data = object.self = object
  return object
}

function revoked(target = {}) {
  const { proxy, revoke } = Proxy.revocable(target, {})
  revoke()
  return proxy
}

/** @param {unknown} value */
function isArray(value) {
  try {
    return Array.isArray(value)
  } catch {
    return false
  }
}

/** True if inspecting the value throws. @param {any} value */
function isStrange(value) {
  try {
    return Object.keys(value).some((name) => value[name] === value)
  } catch {
    return true
  }
}

/** @type {((w: World) => unknown)[]} */
const JUNK = [
  () => undefined,
  () => null,
  (w) => w.r.chance(0.5),
  (w) => number(w),
  (w) => number(w),
  (w) => w.r.pick(TEXTS),
  () => Symbol('junk'),
  () => Symbol.iterator,
  () => 3n,
  () => -(2n ** 70n),
  () => () => 1,
  () => async () => 1,
  () => Map,
  () => [],
  () => [[]],
  () => [undefined],
  () => new Array(5),
  () => new Array(2 ** 32 - 1),
  () => ({}),
  () => Object.create(null),
  () => Object.freeze({ shape: [0], data: new Float32Array(0) }),
  () => new Date(0),
  () => new Date(NaN),
  () => /x/g,
  () => new Map([['data', 1]]),
  () => new Set([1]),
  () => new WeakMap(),
  () => Promise.resolve(1),
  () => new Error('junk'),
  () => new ArrayBuffer(8),
  () => new SharedArrayBuffer(8),
  () => new DataView(new ArrayBuffer(8)),
  () => new Float64Array(2),
  () => new BigInt64Array(2),
  () => new Uint8ClampedArray(2),
  () => new Float32Array(2),
  () => new Int32Array(2),
  () => new Uint8Array(2),
  () => new Number(1),
  () => new String('causal'),
  () => Object(Symbol('x')),
  () => revoked(),
  () => revoked([]),
  () => revoked(/** @type {any} */ (() => {})),
  () => deep(300),
  () => cyclic(),
  () => ({ [Symbol.toStringTag]: 'ArrayBuffer', length: 3 }),
  () => ({ [Symbol.toStringTag]: 'Float32Array', length: 3 }),
  () => ({ length: -1 }),
  () => ({ length: 2 ** 53 - 1 }),
  () => ({ length: { valueOf: () => 1 } }),
  () => ({ length: 1n }),
  () => Object.setPrototypeOf({}, Float32Array.prototype),
  () => new realm.Float32Array(2),
  () => new realm.Object(),
  () => new realm.Array(3),
  (w) => ({
    get [Symbol.toStringTag]() {
      throw w.error('tag')
    }
  }),
  (w) => ({
    [Symbol.toPrimitive]() {
      throw w.error('primitive')
    }
  }),
  (w) =>
    new Proxy(
      {},
      {
        get() {
          throw w.error('trap')
        }
      }
    ),
  (w) =>
    new Proxy([], {
      ownKeys() {
        throw w.error('keys')
      },
      getOwnPropertyDescriptor() {
        throw w.error('descriptor')
      },
      getPrototypeOf() {
        throw w.error('prototype')
      }
    }),
  () => ({ aborted: false, addEventListener() {}, removeEventListener() {} }),
  () => ({ aborted: true, addEventListener() {} })
]

/** @param {World} w */
function number(w) {
  w.isExtreme = true
  if (w.r.chance(0.7)) return w.r.pick(NUMBERS)
  w.isHuge = true
  return w.r.pick(SIZES)
}

/** An unrelated value. @param {World} w */
function junk(w) {
  w.isExtreme = true
  return w.r.pick(JUNK)(w)
}

/**
 * Another array with the same numbers, or almost the same.
 *
 * @type {Record<string, (w: World, array: any, name: string) => any>}
 */
const ARRAYS = {
  subclass: (w, array, name) => tracked(w, new subclasses[name](array), array),
  'other realm': (w, array, name) => tracked(w, new realm[name](array), array),
  shared(w, array, name) {
    const copy = new classes[name](new SharedArrayBuffer(array.byteLength + 8), 4, array.length)
    copy.set(array)
    return tracked(w, copy, array)
  },
  resizable(w, array, name) {
    const buffer = new /** @type {any} */ (ArrayBuffer)(array.byteLength, { maxByteLength: array.byteLength + 64 })
    const copy = new classes[name](buffer)
    copy.set(array)
    if (w.r.chance(0.3)) buffer.resize(w.r.chance(0.5) ? 0 : array.byteLength + 4 * w.r.int(1, 16))
    return copy
  },
  'out of bounds'(_, array, name) {
    const buffer = new /** @type {any} */ (ArrayBuffer)(array.byteLength + 16, { maxByteLength: array.byteLength + 64 })
    const copy = new classes[name](buffer, 16, array.length)
    buffer.resize(4)
    return copy
  },
  detached(_, array, name) {
    const copy = new classes[name](array)
    structuredClone(copy.buffer, { transfer: [copy.buffer] })
    return copy
  },
  'own length'(w, array, name) {
    const copy = new classes[name](array)
    return Object.defineProperty(copy, 'length', {
      value: w.r.pick([0, array.length + 1, array.length * 2, -1, 2 ** 40, '3', NaN])
    })
  },
  'length that calls back'(w, array, name) {
    const copy = new classes[name](array)
    const get = () => {
      w.reenter()
      return array.length
    }
    return Object.defineProperty(copy, 'length', { get })
  },
  'own names'(w, array, name) {
    const copy = new classes[name](array)
    for (const member of [
      'set',
      'buffer',
      'byteOffset',
      'byteLength',
      'subarray',
      'constructor',
      'slice',
      'BYTES_PER_ELEMENT',
      'fill'
    ]) {
      if (w.r.chance(0.5))
        Object.defineProperty(copy, member, { value: w.r.pick([1, undefined, () => {}, new ArrayBuffer(3)]) })
    }
    return copy
  },
  proxy: (_, array) => new Proxy(array, {}),
  shorter: (_, array) => array.subarray(0, Math.max(0, array.length - 1)),
  longer: (_, array, name) => new classes[name](array.length + 1),
  'other type': (w, array) => new (w.r.pick([Float64Array, Int16Array, Uint8Array, Int32Array, Uint32Array]))(array),
  'other numbers'(w, array, name) {
    w.isExtreme = true
    const copy = new classes[name](array)
    for (let at = 0; at < copy.length; at++)
      if (w.r.chance(0.3)) copy[at] = w.r.pick([...NUMBERS, 2 ** 31 - 1, -(2 ** 31)])
    return tracked(w, copy, array)
  },
  'frozen list': (_, array) => Object.freeze(Array.from(array))
}

/** @template {ArrayBufferView} T @param {World} w @param {T} array @param {ArrayBufferView} original */
function tracked(w, array, original) {
  if (!w.outputs.has(original)) w.track(array.buffer)
  return array
}

/** @type {Record<string, (w: World, list: any[]) => any>} */
const LISTS = {
  'an entry': (w, list) => replaced(list, w.r.int(0, list.length), junk(w)),
  'an entry within': (w, list) => {
    const at = w.r.int(0, Math.max(0, list.length - 1))
    return list.length > 0 ? replaced(list, at, mutate(w, list[at])) : junk(w)
  },
  'a size'(w, list) {
    w.isExtreme = w.isHuge = true
    return replaced(list, w.r.int(0, list.length), w.r.pick([0, 2 ** 31, 2 ** 32, ...SIZES]))
  },
  'no elements'(w, list) {
    w.isExtreme = w.isHuge = true
    const empty = w.r.int(0, list.length - 1)
    return list.map((dim, at) => (at === empty ? 0 : w.r.chance(0.5) ? w.r.pick([2 ** 31, 2 ** 32, ...SIZES]) : dim))
  },
  proxy: (_, list) => new Proxy(list, {}),
  'calls back': (w, list) =>
    new Proxy(list, {
      get(target, name, receiver) {
        w.reenter()
        return Reflect.get(target, name, receiver)
      }
    }),
  'strange length': (w, list) => {
    const length = w.r.pick([NaN, -1, 1n, 'x', Symbol('x'), undefined, 2 ** 40, 0.5])
    return new Proxy(list, { get: (target, name) => (name === 'length' ? length : Reflect.get(target, name)) })
  },
  'other realm': (_, list) => realm.Array.from(list),
  subclass: (_, list) => class extends Array {}.from(list),
  'own methods'(w, list) {
    const copy = [...list]
    for (const name of ['map', 'join', 'slice', 'reduce', 'entries', 'forEach', 'at', Symbol.iterator]) {
      const value = w.r.pick([undefined, () => 3, () => w.reenter()])
      if (w.r.chance(0.5)) Object.defineProperty(copy, name, { value })
    }
    return copy
  },
  shorter: (_, list) => list.slice(1),
  longer: (w, list) => [...list, ...Array.from({ length: w.r.int(1, 9) }, () => list[0])],
  'a million holes': (_, list) => Object.assign(new Array(2 ** 32 - 1), list),
  'array-like': (_, list) => ({ ...list, length: list.length }),
  'typed array': (_, list) => {
    try {
      return Int32Array.from(list)
    } catch {
      return new Int32Array(1)
    }
  }
}

/** @param {any[]} list @param {number} at @param {unknown} value */
function replaced(list, at, value) {
  const copy = list.slice()
  copy[at] = value
  return copy
}

/** @type {Record<string, (w: World, object: any) => any>} */
const OBJECTS = {
  'a member': (w, object) => withMember(object, anyName(w, object), junk(w)),
  'within a member': withinMember,
  'within a member ': withinMember,
  'within a member  ': withinMember,
  'an unknown name': (w, object) => withMember(object, w.r.pick(TEXTS), w.r.chance(0.5) ? junk(w) : 1),
  'a symbol': (_, object) => ({ ...object, [Symbol('s')]: 1 }),
  'less of it'(w, object) {
    const copy = { ...object }
    delete copy[anyName(w, object)]
    return copy
  },
  'a getter that throws'(w, object) {
    const get = () => {
      throw w.error('getter')
    }
    return withGetter(object, anyName(w, object), get)
  },
  'a getter that calls back'(w, object) {
    const name = anyName(w, object)
    const get = () => {
      w.reenter()
      return object[name]
    }
    return withGetter(object, name, get)
  },
  'a getter that changes'(w, object) {
    const name = anyName(w, object)
    const values = [object[name], junk(w), junk(w)]
    let reads = 0
    return withGetter(object, name, () => values[Math.min(reads++, 2)])
  },
  'a getter that detaches'(w, object) {
    const name = anyName(w, object)
    const get = () => {
      detach(w, object, 0)
      return object[name]
    }
    return withGetter(object, name, get)
  },
  'a getter that disposes'(w, object) {
    const name = anyName(w, object)
    const get = () => {
      w.dispose()
      return object[name]
    }
    return withGetter(object, name, get)
  },
  'a proxy': (_, object) => new Proxy(object, {}),
  'a proxy that calls back': (w, object) =>
    new Proxy(object, {
      get(target, name, receiver) {
        w.reenter()
        return Reflect.get(target, name, receiver)
      },
      ownKeys(target) {
        w.reenter()
        return Reflect.ownKeys(target)
      }
    }),
  'no prototype': (_, object) => Object.assign(Object.create(null), object),
  inherited: (_, object) => Object.create(object),
  'other realm': (_, object) => Object.assign(new realm.Object(), object),
  frozen: (_, object) => Object.freeze({ ...object }),
  'an own __proto__': (w, object) => withMember(object, '__proto__', w.r.chance(0.5) ? object : junk(w)),
  'a cycle'(_, object) {
    const copy = { ...object }
    copy.self = copy
    return copy
  },
  'many names': (_, object) => ({
    ...Object.fromEntries(Array.from({ length: 500 }, (_, at) => [`n${at}`, at])),
    ...object
  })
}

/** @param {World} w @param {any} object */
function anyName(w, object) {
  const names = Object.keys(object)
  return names.length > 0 ? w.r.pick(names) : w.r.pick(TEXTS)
}

/** @param {any} object @param {string} name @param {unknown} value */
function withMember(object, name, value) {
  // Assignment would misinterpret __proto__.
  return Object.defineProperty({ ...object }, name, { value, enumerable: true, configurable: true, writable: true })
}

/** @param {any} object @param {string} name @param {() => unknown} get */
function withGetter(object, name, get) {
  return Object.defineProperty({ ...object }, name, { get, enumerable: true, configurable: true })
}

/** @param {World} w @param {any} object */
function withinMember(w, object) {
  const name = anyName(w, object)
  return withMember(object, name, mutate(w, object[name]))
}

/** Detaches every reachable array. @param {World} w @param {any} value @param {number} depth */
function detach(w, value, depth) {
  if (typeof value !== 'object' || value === null || depth > 3) return
  if (ArrayBuffer.isView(value)) {
    w.untrack(value.buffer)
    const { buffer } = value
    if (!(buffer instanceof ArrayBuffer)) return
    try {
      structuredClone(buffer, { transfer: [buffer] })
    } catch {
      // Already detached.
    }
    return
  }
  if (isStrange(value)) return
  for (const member of Object.values(value)) detach(w, member, depth + 1)
}

/**
 * Replaces a valid value with another.
 *
 * @param {World} w
 * @param {any} value
 * @returns {any}
 */
export function mutate(w, value) {
  try {
    return different(w, value)
  } catch {
    // An earlier mutation may prevent another one.
    return value
  }
}

/** @param {World} w @param {any} value */
function different(w, value) {
  if (w.r.chance(0.12)) return said(w, 'junk', junk(w))
  const name = ArrayBuffer.isView(value) ? Object.prototype.toString.call(value).slice(8, -1) : undefined
  if (name !== undefined && name in classes) return changed(w, ARRAYS, value, name)
  if (isArray(value)) return value.length < 100 ? changed(w, LISTS, value) : value
  if (typeof value === 'object' && value !== null && !isStrange(value)) {
    const prototype = Object.getPrototypeOf(value)
    if (prototype === Object.prototype || prototype === null) return changed(w, OBJECTS, value)
  }
  if (typeof value === 'number' && w.r.chance(0.5)) return said(w, 'a number', number(w))
  return said(w, 'junk', junk(w))
}

/** @param {World} w @param {Record<string, any>} table @param {any} value @param {string} [name] */
function changed(w, table, value, name) {
  const kind = w.r.pick(Object.keys(table))
  const made = table[kind](w, value, name)
  // A call may also write to an array that takes the place of an output.
  if (w.outputs.has(value) && ArrayBuffer.isView(made)) w.outputs.add(made)
  w.changes.push(kind.trim())
  return made
}

/** @template T @param {World} w @param {string} what @param {T} value */
function said(w, what, value) {
  w.changes.push(what)
  return value
}

/** Mutates none, one or several of the arguments. @param {World} w @param {any[]} args */
export function mutateArguments(w, args) {
  const count = w.r.pick([0, 1, 1, 1, 2, 3])
  const changedArgs = [...args]
  for (let change = 0; change < count; change++) {
    const at = w.r.int(0, Math.max(0, changedArgs.length - 1))
    const kind = w.r.int(1, 32)
    if (kind === 1) changedArgs.length = at
    else if (kind === 2) changedArgs.push(junk(w))
    else changedArgs[at] = mutate(w, changedArgs[at])
  }
  return changedArgs
}
