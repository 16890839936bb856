// Generated from the tables of crates/attention/src/graph/parameters.rs by
// `UPDATE_OPERATIONS=1 cargo test -p ruvector-attention-calls --test operations`.

/**
 * A parameter: its name in PyTorch Geometric, the layers that have it, and its dimensions.
 *
 * @typedef {{ name: string, when: string, shape: string }} Row
 */

/** @type {readonly { layer: string, type: string, rows: readonly Row[] }[]} */
export const GRAPH_PARAMETERS = [
  {
    layer: 'GraphConvolution',
    type: 'GCNConv',
    rows: [
      { name: 'bias', when: 'bias', shape: 'output' },
      { name: 'lin.weight', when: 'always', shape: 'width sources' }
    ]
  },
  {
    layer: 'GraphSage',
    type: 'SAGEConv',
    rows: [
      { name: 'lin.weight', when: 'project', shape: 'sources sources' },
      { name: 'lin.bias', when: 'project', shape: 'sources' },
      { name: 'lin_l.weight', when: 'always', shape: 'width sources' },
      { name: 'lin_l.bias', when: 'bias', shape: 'width' },
      { name: 'lin_r.weight', when: 'root', shape: 'width targets' }
    ]
  },
  {
    layer: 'GraphAttention',
    type: 'GATConv',
    rows: [
      { name: 'att_src', when: 'always', shape: '1 heads channels' },
      { name: 'att_dst', when: 'always', shape: '1 heads channels' },
      { name: 'att_edge', when: 'edge', shape: '1 heads channels' },
      { name: 'bias', when: 'bias', shape: 'output' },
      { name: 'lin.weight', when: 'always', shape: 'width sources' },
      { name: 'lin_edge.weight', when: 'edge', shape: 'width edgeFeatures' },
      { name: 'res.weight', when: 'residual', shape: 'output targets' }
    ]
  },
  {
    layer: 'GraphAttention',
    type: 'GATConv',
    rows: [
      { name: 'att_src', when: 'always', shape: '1 heads channels' },
      { name: 'att_dst', when: 'always', shape: '1 heads channels' },
      { name: 'att_edge', when: 'edge', shape: '1 heads channels' },
      { name: 'bias', when: 'bias', shape: 'output' },
      { name: 'lin_src.weight', when: 'always', shape: 'width sources' },
      { name: 'lin_dst.weight', when: 'always', shape: 'width targets' },
      { name: 'lin_edge.weight', when: 'edge', shape: 'width edgeFeatures' },
      { name: 'res.weight', when: 'residual', shape: 'output targets' }
    ]
  },
  {
    layer: 'GraphAttention',
    type: 'GATv2Conv',
    rows: [
      { name: 'att', when: 'always', shape: '1 heads channels' },
      { name: 'bias', when: 'bias', shape: 'output' },
      { name: 'lin_l.weight', when: 'always', shape: 'width sources' },
      { name: 'lin_l.bias', when: 'bias', shape: 'width' },
      { name: 'lin_r.weight', when: 'always', shape: 'width targets' },
      { name: 'lin_r.bias', when: 'bias', shape: 'width' },
      { name: 'lin_edge.weight', when: 'edge', shape: 'width edgeFeatures' },
      { name: 'res.weight', when: 'residual', shape: 'output targets' }
    ]
  },
  {
    layer: 'GraphTransformer',
    type: 'TransformerConv',
    rows: [
      { name: 'lin_key.weight', when: 'always', shape: 'width sources' },
      { name: 'lin_key.bias', when: 'bias', shape: 'width' },
      { name: 'lin_query.weight', when: 'always', shape: 'width targets' },
      { name: 'lin_query.bias', when: 'bias', shape: 'width' },
      { name: 'lin_value.weight', when: 'always', shape: 'width sources' },
      { name: 'lin_value.bias', when: 'bias', shape: 'width' },
      { name: 'lin_edge.weight', when: 'edge', shape: 'width edgeFeatures' },
      { name: 'lin_skip.weight', when: 'always', shape: 'output targets' },
      { name: 'lin_skip.bias', when: 'bias', shape: 'output' },
      { name: 'lin_beta.weight', when: 'gate', shape: '1 3*output' }
    ]
  }
]
