// Low-rank adapters (Hu et al. 2021): each adds `alpha / rank · B A` to a projection whose own weight is frozen. A
// layer of 32-bit floats holds the sums, so that it runs as any other. Weights of 16 or 8 bits stay as they are: there,
// `forward` computes the products of the adapters beside those of the weights.

import { transpose } from '../face/arrange.js'
import { AttentionError, describe, fault, isArray, isObject } from '../checks/errors.js'
import { pickOptions } from '../checks/options.js'
import { allocateTensor, checkTensor, copyOf, formatShape } from '../checks/tensor.js'
import { Callable } from '../face/callable.js'
import { isLayer, overlays, residentOf } from '../face/layers.js'
import { FAMILIES, itemsOf } from '../names/items.js'
import { widen } from '../numbers/convert.js'
import { Watch } from '../runtime/async/watch.js'
import { encodeState } from '../weights/state.js'
import { membersOf } from './lists.js'

/** @typedef {import('../face/layers.js').Layer<any>} Layer */
/** @typedef {import('../checks/tensor.js').Checked} Checked */
/** @typedef {import('../runtime/backend.js').Backend} Backend */
/** @typedef {import('../runtime/resident.js').Resident} Resident */
/**
 * A projection of a layer: rows of one of its parameters.
 *
 * @typedef {object} Place
 * @property {string} key  its role, after the prefix of its attention
 * @property {string} module  the path of its module in the layer's own names
 * @property {string} name  of the parameter
 * @property {number} start  of its rows
 * @property {number} rows
 * @property {number} columns
 */
/** @typedef {Place & { a: Checked, b: Checked }} Adapter */

const ROLES = ['query', 'key', 'value', 'output', 'up', 'gate', 'down']

/** A parameter in its own type. @typedef {Checked | import('../checks/tensor.js').CheckedWeight} Entry */

/**
 * The adapters of a layer, and its frozen parameters.
 *
 * @typedef {{ adapters: Adapter[], scale: number, base: Record<string, Entry> }} Adapted
 */

/** @type {WeakMap<object, Adapted>} */
export const adapted = new WeakMap()

const FORWARD = /** @type {const} */ (['forward', 'forwardAsync'])

/** The names of each role's module outside of joint matrices. */
const MODULES = /** @type {Record<string, string[]>} */ ({
  query: ['q_proj'],
  key: ['k_proj'],
  value: ['v_proj'],
  output: ['out_proj', 'o_proj'],
  up: ['linear1', 'mlp.up_proj'],
  gate: ['linear_gate', 'mlp.gate_proj'],
  down: ['linear2', 'mlp.down_proj']
})

/**
 * The projections of a layer, by its parameters.
 *
 * @param {Record<string, Entry>} state
 * @param {Record<string, any>} config
 * @returns {Place[]}
 */
function placesOf(state, config) {
  return ['', 'self_attn.', 'multihead_attn.'].flatMap((prefix) =>
    ROLES.flatMap((role, at) => {
      const key = prefix + role
      for (const module of MODULES[role].map((own) => prefix + own)) {
        const name = [`${module}.weight`, `${module}_weight`].find((own) => own in state)
        if (name === undefined) continue
        const [rows, columns] = state[name].shape
        return [{ key, module, name, start: 0, rows, columns }]
      }
      const name = `${prefix}in_proj_weight`
      if (!(name in state) || at > 2) return []
      const inner = prefix === 'multihead_attn.' ? config.crossAttention : prefix ? config.attention : config
      const { numHeads, kvHeads = numHeads, outputGate, headDim = config.modelDim / numHeads } = inner ?? config
      const widths = [numHeads * headDim * (outputGate ? 2 : 1), kvHeads * headDim, kvHeads * headDim]
      const start = widths.slice(0, at).reduce((a, b) => a + b, 0)
      const module = `${prefix}${MODULES[role][0]}`
      return [{ key, module, name, start, rows: widths[at], columns: state[name].shape[1] }]
    })
  )
}

/**
 * The paths of a projection's module in the names of families, by family.
 *
 * @param {Resident} resident
 * @param {Place} place
 * @returns {Map<string, string>}
 */
function familyModules(resident, { key, module }) {
  const { operation } = resident.layout()
  const families = FAMILIES[/** @type {keyof typeof FAMILIES} */ (operation.replace(/^create/, ''))] ?? {}
  const part = `${key.startsWith('multihead_attn.') ? 'cross_' : ''}${key.replace(/^\w+\./, '')}.weight`
  const found = Object.entries(families).flatMap(([family, names], at) => {
    if (at === 0) return [/** @type {const} */ ([family, module])]
    const item = itemsOf(names).find(({ parts, transposed }) => `${parts}` === part && !transposed)
    return item ? [/** @type {const} */ ([family, item.name.replace(/[._]weight$/, '')])] : []
  })
  return new Map(found)
}

/** The two matrices of an adapter, with their names. */
const MATRICES = /** @type {const} */ ([
  ['a', 'lora_A.weight'],
  ['b', 'lora_B.weight']
])

/**
 * The same adapters with other matrices.
 *
 * @param {Adapted} own
 * @param {(adapter: Adapter) => (matrix: 'a' | 'b', name: string) => Checked} read
 * @returns {Adapted}
 */
function withMatrices(own, read) {
  const adapters = own.adapters.map((adapter) => {
    const matrix = read(adapter)
    const [a, b] = MATRICES.map(([key, name]) => matrix(key, name))
    return { ...adapter, a, b }
  })
  return { ...own, adapters }
}

/**
 * @param {unknown} options
 */
function readOptions(options) {
  const given = pickOptions(options, ['rank', 'alpha', 'targets', 'seed'])
  const { rank, alpha = rank, targets = ['query', 'value'], seed = 0 } = given
  if (!Number.isSafeInteger(rank) || Number(rank) < 1) {
    throw fault('OPTION', 'rank', 'an integer of at least 1', describe(rank))
  }
  if (typeof alpha !== 'number' || !(alpha > 0 && alpha < Infinity)) {
    throw fault('OPTION', 'alpha', 'a positive finite number', describe(alpha))
  }
  if (!Number.isSafeInteger(seed) || Number(seed) < 0) {
    throw fault('OPTION', 'seed', 'an integer from 0 to 2^53 - 1', describe(seed))
  }
  if (!isArray(targets) || targets.length === 0) throw fault('OPTION', 'targets', 'a list of names', describe(targets))
  const names = membersOf('targets', targets)
  names.forEach((target, at) => {
    const expected = `one of ${ROLES.map((role) => `'${role}'`).join(', ')}, once`
    if (!ROLES.includes(target) || names.indexOf(target) !== at) {
      throw fault('OPTION', `targets[${at}]`, expected, describe(target))
    }
  })
  return { rank: Number(rank), scale: alpha / Number(rank), targets: names, seed }
}

/** The type of a parameter; 32-bit floats may have none. @param {Entry} entry */
const typeOf = (entry) => ('type' in entry ? entry.type : 'f32')

/**
 * Returns true if the layer itself holds the sums.
 *
 * @param {Pick<Adapted, 'adapters' | 'base'>} own
 */
const isSummed = ({ adapters, base }) => adapters.every(({ name }) => typeOf(base[name]) === 'f32')

/**
 * @param {Backend} backend
 * @param {Record<string, any>} api
 * @param {import('./vjp.js').Evaluate} evaluate
 */
export function createLora(backend, api, evaluate) {
  /** @param {unknown} layer */
  function checkLayer(layer) {
    if (!isLayer(layer)) throw fault('DTYPE', 'layer', 'a Layer', describe(layer))
    if (!residentOf(layer).isOf(backend)) {
      throw fault(
        'OPTION',
        'layer',
        "a layer of this API: one entry's loadBackend makes both",
        'a layer of another API'
      )
    }
    return layer
  }

  /**
   * Loads the sums of the frozen weights and the adapters, in the type of the weights.
   *
   * @param {Resident} resident
   * @param {Adapted} own
   */
  function loadSums(resident, { adapters, scale, base }) {
    const state = { ...base }
    for (const { name, start, columns, a, b } of adapters) {
      const product = api.linear(b, transpose(a)).data
      if (state[name] === base[name]) {
        const entry = /** @type {import('../checks/tensor.js').CheckedWeight} */ (base[name])
        state[name] = { data: widen({ ...entry, type: typeOf(entry) }).slice(), shape: entry.shape }
      }
      const { data } = state[name]
      for (let index = 0; index < product.length; index++) data[start * columns + index] += scale * product[index]
    }
    resident.load(encodeState(state, undefined, () => resident.layout()))
  }

  /**
   * Lets a layer compute with its frozen weights and its adapters.
   *
   * @param {Layer} layer
   */
  function replaceForward(layer) {
    const methods = {
      forward: (/** @type {unknown[]} */ ...given) => evaluate(layer, undefined, given),
      async forwardAsync(/** @type {unknown[]} */ ...given) {
        const watch = new Watch()
        try {
          const result = evaluate(layer, watch, given)
          watch.onProgress?.(1)
          return result
        } catch (error) {
          // The call of a layer without adapters words its errors.
          const isOther = error instanceof AttentionError && !error.expected?.startsWith('none: ')
          if (isOther) await Callable.prototype.forwardAsync.apply(layer, /** @type {any} */ (given))
          throw error
        }
      }
    }
    for (const name of FORWARD) Object.defineProperty(layer, name, { value: methods[name], configurable: true })
  }

  /**
   * @param {Layer} layer
   * @param {unknown} options
   */
  function stateDict(layer, options) {
    const { names, type = 'f32' } = pickOptions(options, ['names', 'type'])
    if (type !== 'f32' && type !== 'own') throw fault('OPTION', 'type', "'f32' or 'own'", describe(type))
    const resident = residentOf(layer)
    const { adapters } = /** @type {Adapted} */ (adapted.get(layer))
    const entries = adapters.flatMap((adapter) => {
      const modules = familyModules(resident, adapter)
      const module = names === undefined ? adapter.module : modules.get(/** @type {string} */ (names))
      if (module === undefined) {
        const known = [...modules.keys()].map((name) => `'${name}'`).join(', ')
        throw fault('OPTION', 'names', `one of ${known}`, describe(names))
      }
      return MATRICES.map(([matrix, name]) => {
        const { data, shape } = adapter[matrix]
        return [`${module}.${name}`, { data: data.slice(), shape: [...shape] }]
      })
    })
    return Object.fromEntries(entries)
  }

  /**
   * Loads adapters by the layer's own names, or by those of any family.
   *
   * @param {Layer} layer
   * @param {unknown} state
   * @param {unknown} options
   */
  function loadStateDict(layer, state, options) {
    const { prefix = '' } = pickOptions(options, ['prefix'])
    if (!isObject(state) || isArray(state))
      throw fault('DTYPE', 'state', 'an object of tensors by name', describe(state))
    const resident = residentOf(layer)
    const own = /** @type {Adapted} */ (adapted.get(layer))
    const given = /** @type {Record<string, unknown>} */ (state)
    const start = `${prefix}`.replace(/(?<=[^.])$/, '.')
    const loaded = withMatrices(own, (adapter) => {
      const paths = [adapter.module, ...familyModules(resident, adapter).values()]
      return (matrix, name) => {
        const names = paths.map((path) => `${start}${path}.${name}`)
        const found = names.find((path) => path in given)
        if (found === undefined) throw fault('FORMAT', names[0], 'an entry of this name', 'none')
        const { data, shape } = checkTensor(found, given[found])
        const expected = adapter[matrix].shape
        if (`${shape}` !== `${expected}`) throw fault('SHAPE', found, formatShape(expected), formatShape(shape))
        return { data: copyOf(data), shape }
      }
    })
    resident.use()
    replace(layer, loaded)
  }

  /**
   * The adapters for changes: an optimizer writes to copies, which then replace them.
   *
   * @param {Layer} layer
   * @returns {import('../runtime/resident.js').Trainable}
   */
  function trainable(layer) {
    const resident = residentOf(layer)
    resident.use()
    const own = /** @type {Adapted} */ (adapted.get(layer))
    /** @type {Map<string, Float32Array>} */
    const copies = new Map()
    const named = own.adapters.flatMap((adapter) =>
      MATRICES.map(([matrix, name]) => ({ name: `${adapter.module}.${name}`, ...adapter[matrix] }))
    )
    return {
      entries: named.map(({ name, shape }) => ({ name, shape })),
      array(name) {
        const { data } = /** @type {(typeof named)[number]} */ (named.find((entry) => entry.name === name))
        const copy = copyOf(data)
        copies.set(name, copy)
        return copy
      },
      changed() {
        const stepped = withMatrices(own, (adapter) => (matrix, name) => {
          const { data, shape } = adapter[matrix]
          return { data: copies.get(`${adapter.module}.${name}`) ?? data, shape }
        })
        replace(layer, stepped)
      }
    }
  }

  /**
   * Replaces the adapters of a layer.
   *
   * @param {Layer} layer
   * @param {Adapted} next
   */
  function replace(layer, next) {
    if (isSummed(next)) loadSums(residentOf(layer), next)
    adapted.set(layer, next)
  }

  /**
   * @param {unknown} layer
   * @param {unknown} options
   */
  function addLora(layer, options) {
    const checked = checkLayer(layer)
    const { rank, scale, targets, seed } = readOptions(options)
    if (adapted.has(checked)) throw fault('OPTION', 'layer', 'a layer without adapters', 'one that has them')
    const resident = residentOf(checked)
    const base = /** @type {Record<string, Entry>} */ (checked.stateDict({ type: 'own' }))
    const places = placesOf(base, resident.layout().config).filter(({ key }) =>
      targets.includes(key.replace(/^\w+\./, ''))
    )
    for (const target of targets) {
      if (!places.some(({ key }) => key.replace(/^\w+\./, '') === target)) {
        throw fault('OPTION', 'targets', 'projections of this layer', `'${target}'`)
      }
    }
    const adapters = places.map((place, at) => {
      // Drawn as the weight of torch.nn.Linear, which is Kaiming-uniform.
      const drawn = new api.Linear({
        inFeatures: place.columns,
        outFeatures: rank,
        useBias: false,
        seed: Number(seed) + at
      })
      const { weight: a } = drawn.stateDict()
      drawn.dispose()
      return { ...place, a, b: allocateTensor('adapter', [place.rows, rank]) }
    })
    const own = { adapters, scale, base }
    adapted.set(checked, own)
    if (!isSummed(own)) replaceForward(checked)
    overlays.set(checked, {
      stateDict: (given) => stateDict(checked, given),
      loadStateDict: (state, given) => loadStateDict(checked, state, given),
      trainable: () => trainable(checked)
    })
  }

  /** @param {unknown} layer */
  function mergeLora(layer) {
    const checked = checkLayer(layer)
    const resident = residentOf(checked)
    resident.use()
    const own = adapted.get(checked)
    if (own === undefined) throw fault('OPTION', 'layer', 'a layer with adapters', 'one without')
    if (!isSummed(own)) {
      loadSums(resident, own)
      for (const name of FORWARD) Reflect.deleteProperty(checked, name)
    }
    adapted.delete(checked)
    overlays.delete(checked)
  }

  return { addLora, mergeLora }
}
