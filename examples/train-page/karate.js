// Zachary's karate club (Zachary 1977): who meets whom outside of it, and the four communities of Kipf & Welling 2017,
// with one label each.

/** @typedef {import('./network.js').Data} Data */

/** For each member, the friends with larger numbers. */
const FRIENDS = `1 2 3 4 5 6 7 8 10 11 12 13 17 19 21 31;2 3 7 13 17 19 21 30;3 7 8 9 13 27 28 32;7 12 13;6 10;
6 10 16;16;;30 32 33;33;;;;33;32 33;32 33;;;32 33;33;32 33;;32 33;25 27 29 32 33;25 27 31;31;29 33;33;31 33;32 33;
32 33;32 33;33;`
const COMMUNITIES = '1111333101311100310101002200200200'
const GIVEN = [0, 4, 8, 24]

/** @returns {Data} */
export function karateClub() {
  const labels = Array.from(COMMUNITIES, Number)
  const numNodes = labels.length
  const friends = FRIENDS.split(';').map((list) => list.trim().split(' ').filter(Boolean).map(Number))
  const pairs = friends.flatMap((others, member) => others.map((other) => [member, other]))
  // A member's number is its only feature.
  const data = new Float32Array(numNodes * numNodes)
  for (let member = 0; member < numNodes; member++) data[member * (numNodes + 1)] = 1
  return {
    numNodes,
    source: pairs.flat(),
    target: pairs.flatMap(([a, b]) => [b, a]),
    labels,
    given: labels.map((_, member) => GIVEN.includes(member)),
    x: { data, shape: [numNodes, numNodes] }
  }
}
