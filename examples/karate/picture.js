// The picture of the example: members in the colours of their communities, and whom they look at.
import { graphPlot } from '@ruvector/attention/plot'

/**
 * @param {ReturnType<typeof import('./karate.js').runNetwork>} result
 * @param {{ right: number, of: number }} score
 */
export function drawClub({ source, target, labels, trained, predicted, weights }, score) {
  const members = labels.map((_, member) => member)
  const communities = [...new Set(labels)]
  return graphPlot(
    { numNodes: labels.length, source, target },
    {
      // Numbered from 1, as in Zachary's paper.
      labels: members.map((member) => member + 1),
      groups: labels,
      groupLabels: Object.fromEntries(communities.map((community) => [community, `community ${community + 1}`])),
      weights: weights[0],
      addSelfLoops: true,
      selfLoops: false,
      marks: [
        { nodes: members.filter((member) => trained[member]), label: 'told in training' },
        ...communities.map((group) => ({
          nodes: members.filter((member) => predicted[member] === group && labels[member] !== group),
          label: 'sorted into the ring’s colour',
          group
        }))
      ],
      title: 'Whom the members of Zachary’s karate club look at',
      notes: [
        'Attention of a graph network’s first layer, mean of four heads: an arrow points to the member who looks.',
        `The network was told the community of four members, and sorts ${score.right} of the other ${score.of} rightly.`
      ]
    }
  )
}
