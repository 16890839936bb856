// A minimal program: which key does each query attend to?
//   npm run example -- node-basic
import { backend, createTensor, scaledDotProductAttention } from '@ruvector/attention'

// Two queries and two keys of size 2: [batch, length, size].
const queries = createTensor([8, 0, 0, 8], [1, 2, 2])
const keys = createTensor([1, 0, 0, 1], [1, 2, 2])
const values = createTensor([10, 20], [1, 2, 1])

const { output, weights } = scaledDotProductAttention(queries, keys, values, { weights: true })
console.log('output', [...output.data].map((value) => value.toFixed(2)).join(' '))
console.log('weights', [...(weights?.data ?? [])].map((value) => value.toFixed(3)).join(' '))
console.error('on', backend().kind, backend().simd)
