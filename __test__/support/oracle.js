// Scaled dot-product attention by the definition, in plain loops over doubles: slow, and independent of every kernel.

/** A 3-D tensor is one head; `layout` says where the heads of a 4-D one are. */
function heads({ data, shape }, layout) {
  const [batch, a, b, size] = shape.length === 3 ? [shape[0], 1, shape[1], shape[2]] : shape
  const swapped = layout === 'blhd' && shape.length === 4
  const [count, length] = swapped ? [b, a] : [a, b]
  const index = (n, h, l, d) => ((n * a + (swapped ? l : h)) * b + (swapped ? h : l)) * size + d
  return { batch, count, length, size, index, at: (n, h, l, d) => data[index(n, h, l, d)] }
}

/** The entry of a mask that broadcasts to [B, H, L, S] from the right; one of rank 3 with 3-D inputs is [B, L, S]. */
function maskAt(mask, flat, position) {
  if (flat && mask.shape.length === 3) position = position.filter((_, axis) => axis !== 1)
  let index = 0
  for (const [axis, dim] of mask.shape.entries()) {
    index = index * dim + (dim === 1 ? 0 : position[position.length - mask.shape.length + axis])
  }
  return mask.data[index]
}

export function attention(q, k, v, options = {}) {
  const { layout, mask, causal, queryOffset = 0, window = [-1, -1], kvLengths, softcap = 0 } = options
  const [Q, K, V] = [q, k, v].map((tensor) => heads(tensor, layout))
  const scale = options.scale ?? 1 / Math.sqrt(Q.size)
  const result = { scores: [], softcapped: [], biased: [], weights: [], logSumExp: [] }
  result.output = new Array(q.shape.slice(0, -1).reduce((a, b) => a * b, 1) * V.size).fill(0)
  for (let b = 0; b < Q.batch; b++) {
    const offset = typeof queryOffset === 'number' ? queryOffset : queryOffset[b]
    for (let h = 0; h < Q.count; h++) {
      const g = Math.floor(h / (Q.count / K.count))
      for (let i = 0; i < Q.length; i++) {
        const row = []
        for (let j = 0; j < K.length; j++) {
          let score = 0
          for (let d = 0; d < Q.size; d++) score += Q.at(b, h, i, d) * K.at(b, g, j, d)
          score *= scale
          result.scores.push(score)
          if (softcap > 0) score = softcap * Math.tanh(score / softcap)
          result.softcapped.push(score)
          const entry = mask && maskAt(mask, q.shape.length === 3, [b, h, i, j])
          const visible =
            !(mask?.data instanceof Uint8Array && entry === 0) &&
            !(mask?.data instanceof Float32Array && entry === -Infinity) &&
            !(causal && j > i + offset) &&
            !(window[0] >= 0 && j < i + offset - window[0]) &&
            !(window[1] >= 0 && j > i + offset + window[1]) &&
            !(kvLengths && j >= kvLengths[b])
          if (mask?.data instanceof Float32Array) score += entry
          row.push(visible ? score : -Infinity)
        }
        result.biased.push(...row)
        const maximum = Math.max(...row)
        const powers = row.map((score) => (score === -Infinity ? 0 : Math.exp(score - maximum)))
        const sum = powers.reduce((a, c) => a + c, 0)
        result.logSumExp.push(sum === 0 ? -Infinity : maximum + Math.log(sum))
        for (const [j, power] of powers.entries()) {
          const weight = sum === 0 ? 0 : power / sum
          result.weights.push(weight)
          if (row[j] === -Infinity) continue
          for (let e = 0; e < V.size; e++) result.output[Q.index(b, h, i, 0) / Q.size * V.size + e] += weight * V.at(b, g, j, e)
        }
      }
    }
  }
  return result
}

/** The k largest weights of each row of `size`, descending; of equal ones the lower index first. */
export function largest(weights, size, k) {
  const rows = Array.from({ length: size === 0 ? 0 : weights.length / size }, (_, row) => weights.slice(row * size, row * size + size))
  return rows.map((row) => [...row.keys()].sort((a, b) => row[b] - row[a] || a - b).slice(0, k))
}

/** x Wᵀ + b over the last dimension. */
export function linear(x, weight, bias) {
  const [out, inner] = weight.shape
  const rows = x.data.length / inner
  return Array.from({ length: rows * out }, (_, at) => {
    const [row, column] = [Math.floor(at / out), at % out]
    let sum = bias ? bias.data[column] : 0
    for (let d = 0; d < inner; d++) sum += x.data[row * inner + d] * weight.data[column * inner + d]
    return sum
  })
}
