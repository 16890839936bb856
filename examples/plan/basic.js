// Runs every mechanism of the plan's interface once, on arrays of one value. npm run example -- plan basic
import { AttentionConfig, HyperbolicConfig, ruVector } from '@ruvector/attention/compat'

await ruVector.init()

const [batch, length, size] = [1, 5, 64]
const filled = (/** @type {number} */ width, /** @type {number} */ value) =>
  new Float32Array(batch * length * width).fill(value)
const arrays = (/** @type {number} */ width) =>
  /** @type {const} */ ([filled(width, 1), filled(width, 0.5), filled(width, 0.8)])

console.log('1. Scaled dot-product attention')
const scaledDot = ruVector.createScaledDotProduct(size, 0)
const shape = [batch, length, size]
const attended = scaledDot.forward(...arrays(size), shape, shape, shape, undefined)
console.log(`   output: ${attended.length} numbers, scale: ${scaledDot.scale}`)

console.log('2. Multi-head attention')
const modelDim = 512
const multiHead = ruVector.createMultiHead(new AttentionConfig(8, 64))
const { output, weights, metadata } = multiHead.forward(...arrays(modelDim), [batch, length, length, modelDim])
console.log(`   output: ${output.length} numbers, weights: ${weights.length}`)
console.log(`   parameters: ${multiHead.num_parameters()}, memory: ${metadata?.memoryUsed} bytes`)

console.log('3. Hyperbolic attention')
const hyperbolic = ruVector.createHyperbolic(new HyperbolicConfig(-1, 4))
const midpoints = hyperbolic.forward(...arrays(size), shape)
const points = hyperbolic.project_to_ball(Float32Array.of(0.3, 0.4))
const [distance] = hyperbolic.distance_matrix(points, Float32Array.of(0, 0))
console.log(`   output: ${midpoints.length} numbers, curvature: ${hyperbolic.curvature}`)
console.log(`   distance from the origin: ${distance.toFixed(4)}`)

console.log('4. Linear attention')
const linear = ruVector.createLinear(modelDim, 256)
const linearly = linear.forward(...arrays(modelDim), [batch, length, modelDim])
console.log(`   output: ${linearly.length} numbers, features: ${linear.feature_dim}`)

console.log('5. Cross, self and flash attention')
const config = { numHeads: 8, headDim: 64 }
const crossed = ruVector.createCross(config).forward(...arrays(modelDim), [1, 5, 512], [1, 5, 512])
const own = ruVector.createSelf(config).forward(filled(modelDim, 1), [1, 5, 512], 'causal')
const flash = ruVector.createFlash(size)
const tiled = flash.forward(...arrays(size), shape)
console.log(`   outputs: ${crossed.length}, ${own.length} and ${tiled.length} numbers, block size: ${flash.block_size}`)

const { allocated, total } = ruVector.getMemoryUsage()
console.log(`memory: ${allocated} bytes in use, ${(total / 2 ** 20).toFixed(2)} MB taken`)
