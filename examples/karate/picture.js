// The picture of the example: members in the colors of their communities, and whom they attend to.
import { graphPlot } from '@ruvector/attention/plot'

/**
 * @param {ReturnType<typeof import('./karate.js').runNetwork>} result
 * @param {{ correct: number, total: number }} score
 */
export function drawClub({ source, target, labels, trained, predicted, weights }, score) {
  const members = labels.map((_, member) => member)
  const communities = [...new Set(labels)]
  return graphPlot(
    { numNodes: labels.length, source, target },
    {
      // Numbering starts at 1, as in Zachary's paper.
      labels: members.map((member) => member + 1),
      groups: labels,
      groupLabels: Object.fromEntries(communities.map((community) => [community, `community ${community + 1}`])),
      weights: weights[0],
      addSelfLoops: true,
      selfLoops: false,
      marks: [
        { nodes: members.filter((member) => trained[member]), label: 'label given in training' },
        ...communities.map((group) => ({
          nodes: members.filter((member) => predicted[member] === group && labels[member] !== group),
          label: 'predicted as the ring’s color',
          group
        }))
      ],
      title: 'Attention among the members of Zachary’s karate club',
      notes: [
        'Mean attention of four heads in the first layer. An arrow points to the member who attends.',
        `Trained with the communities of four members, the network predicts ${score.correct} of the other ${score.total} correctly.`
      ]
    }
  )
}
