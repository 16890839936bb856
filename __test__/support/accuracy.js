// The accuracy of whole models with weights of 16 and 8 bits: how close their embeddings are to those of 32 bits, and
// how many of the ten nearest texts stay the same. Runs in Node and in browsers.

/** @typedef {import('@ruvector/attention').WeightType} WeightType */
/** @typedef {{ least: number, mean: number, kept: number }} Accuracy */
/** @typedef {keyof typeof GOALS} Type */

/** The least and the mean cosine that a type must reach, and the share of the ten nearest that it must keep. */
const GOALS = {
  f16: { least: 0.999999, mean: 0.999999, kept: 0.99 },
  bf16: { least: 0.9995, mean: 0.9998, kept: 0.975 },
  q8_0: { least: 0.999, mean: 0.9995, kept: 0.975 }
}

/**
 * Returns texts by the name of their set: all sentences, and passages of 4 to 16 of them with 50 to 210 tokens; or only
 * forty sentences.
 *
 * @param {string} sentences  one in each line
 * @param {boolean} isThorough
 * @returns {Record<string, string[]>}
 */
export function textsBySet(sentences, isThorough) {
  const all = sentences.trim().split('\n')
  if (!isThorough) return { sentences: all.slice(0, 40) }
  const passages = Array.from({ length: 200 }, (_, text) => {
    const first = (text * 37) % (all.length - 16)
    return all.slice(first, first + 4 + (text % 13)).join(' ')
  })
  return { sentences: all, passages }
}

/** @param {boolean} isThorough @returns {readonly Type[]} */
export const typesToTest = (isThorough) => (isThorough ? ['f16', 'bf16', 'q8_0'] : ['q8_0'])

/**
 * Embeds texts with weights of 32 bits and of other types, and compares the vectors.
 *
 * @param {Pick<import('@ruvector/attention').Attention, 'topK'>} attention
 * @param {(type: WeightType) => Promise<import('@ruvector/attention/models').Model>} load
 * @param {string[]} texts
 * @param {readonly Type[]} types
 */
export async function accuracies(attention, load, texts, types) {
  const embed = async (/** @type {WeightType} */ type) => {
    const model = await load(type)
    const vectors = await model.embed(texts)
    model.dispose()
    return vectors
  }
  const exact = await embed('f32')
  const [count, size] = exact.shape
  // The nearest text of each is itself.
  const nearest = (/** @type {typeof exact} */ vectors) => attention.topK(vectors, vectors, 11).indices.data
  const expected = nearest(exact)
  const found = []
  for (const type of types) {
    const vectors = await embed(type)
    const cosines = Array.from({ length: count }, (_, row) => {
      const rows = [exact, vectors].map(({ data }) => data.subarray(row * size, (row + 1) * size))
      return rows[0].reduce((sum, value, at) => sum + value * rows[1][at], 0)
    })
    const neighbors = nearest(vectors)
    const kept = Array.from({ length: count }, (_, row) => {
      const mine = new Set(expected.subarray(row * 11, row * 11 + 11))
      return neighbors.subarray(row * 11, row * 11 + 11).filter((index) => mine.has(index)).length - 1
    })
    const sum = (/** @type {readonly number[]} */ values) => values.reduce((total, value) => total + value, 0)
    const accuracy = { least: Math.min(...cosines), mean: sum(cosines) / count, kept: sum(kept) / (10 * count) }
    found.push({ type, accuracy, misses: missesOf(type, accuracy) })
  }
  return found
}

/** The figures that are below the goals of a type. @param {Type} type @param {Accuracy} accuracy */
function missesOf(type, accuracy) {
  const goals = Object.entries(GOALS[type])
  return goals.filter(([name, goal]) => !(accuracy[/** @type {keyof Accuracy} */ (name)] >= goal)).map(([name]) => name)
}
