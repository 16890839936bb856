// A minimal CommonJS program, with a layer that computes on another thread.
//   node examples/node-basic/index.cjs
const { createTensor, SelfAttention } = require('@ruvector/attention')

async function main() {
  const layer = new SelfAttention({ numHeads: 2, headDim: 4, seed: 42 })
  const x = createTensor(
    Array.from({ length: 24 }, (_, index) => Math.sin(index)),
    [1, 3, 8]
  )
  const { output } = await layer.forwardAsync(x, { causal: true })
  console.log(output.shape.join('×'), Array.from(output.data.subarray(0, 4), (value) => value.toFixed(3)).join(' '))
  layer.dispose()
}

void main()
