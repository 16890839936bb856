// The numbers that go in front of each call: the thread limit and every shape, in one array that is never allocated again.
// Filled only once nothing of the caller's runs any more before the call: a getter or a proxy could call back in.

export const header = new Float64Array(64)

let end = 0

/** @param {number} threads */
export function startHeader(threads) {
  header[0] = threads
  end = 1
}

/** @param {readonly number[]} shape */
export function addShape(shape) {
  header[end++] = shape.length
  for (let index = 0; index < shape.length; index++) header[end++] = shape[index]
}
