// Names of the parameters of transformer layers in the checkpoints of each family of models.

import { ATTENTION, below, transposed } from './attention.js'

/** @typedef {import('./attention.js').Family} Family */
/** @typedef {import('./attention.js').Source} Source */

/** @param {string} part @returns {Source} */
const scaleOf = (part) => ({ parts: [part], scale: true })
/** @param {string} part @returns {Source} */
const ungated = (part) => ({ parts: [part], ungated: true })

const { albert, bert, diffusers, distilbert, gpt2, gpt_neox, llama, modernbert, nomic } = ATTENTION
const { phi3, t5, timm, torch, vit, whisper } = ATTENTION

const SMALL = { 'fc1.*': 'up', 'fc2.*': 'down' }
const MLP = below('mlp.', SMALL)
const LLAMA_FEED_FORWARD = below('mlp.', { 'gate_proj.*': 'gate', 'up_proj.*': 'up', 'down_proj.*': 'down' })
const BERT_FEED_FORWARD = { 'intermediate.dense.*': 'up', 'output.dense.*': 'down' }
const NORMS = { 'norm1.*': 'norm1', 'norm2.*': 'norm2' }

/** Names of PyTorch's feed-forward network, with a gate that PyTorch lacks. */
const TORCH_FEED_FORWARD = { 'linear1.*': 'up', 'linear_gate.*': 'gate', 'linear2.*': 'down' }

/** @param {number} index  of the feed-forward network among a block's sublayers */
const t5FeedForward = (index) =>
  below(`layer.${index}.`, {
    'DenseReluDense.wi.*': ungated('up'),
    'DenseReluDense.wi_0.*': 'gate',
    'DenseReluDense.wi_1.*': 'up',
    'DenseReluDense.wo.*': 'down',
    'layer_norm.*': `norm${index + 1}`
  })

/** `torch.nn.TransformerEncoderLayer` and encoder layers of models. @type {Readonly<Record<string, Family>>} */
export const ENCODER = {
  torch: { title: 'PyTorch', names: { ...below('self_attn.', torch.names), ...TORCH_FEED_FORWARD, ...NORMS } },
  // Also RoBERTa and ELECTRA.
  bert: {
    title: 'BERT',
    config: { activation: 'gelu' },
    names: {
      ...below('attention.', bert.names),
      ...BERT_FEED_FORWARD,
      'attention.output.LayerNorm.*': 'norm1',
      'output.LayerNorm.*': 'norm2'
    }
  },
  distilbert: {
    title: 'DistilBERT',
    config: { activation: 'gelu' },
    names: {
      ...below('attention.', distilbert.names),
      'ffn.lin1.*': 'up',
      'ffn.lin2.*': 'down',
      'sa_layer_norm.*': 'norm1',
      'output_layer_norm.*': 'norm2'
    }
  },
  mpnet: {
    title: 'MPNet',
    config: { activation: 'gelu' },
    names: {
      ...below('attention.attn.', t5.names),
      ...BERT_FEED_FORWARD,
      'attention.LayerNorm.*': 'norm1',
      'output.LayerNorm.*': 'norm2'
    }
  },
  albert: {
    title: 'ALBERT',
    config: { activation: 'gelu-tanh' },
    names: {
      ...below('attention.', albert.names),
      'ffn.*': 'up',
      'ffn_output.*': 'down',
      'attention.LayerNorm.*': 'norm1',
      'full_layer_layer_norm.*': 'norm2'
    }
  },
  // Also DeiT.
  vit: {
    title: 'ViT',
    config: { activation: 'gelu', normFirst: true },
    names: {
      ...below('attention.', vit.names),
      ...BERT_FEED_FORWARD,
      ...MLP,
      'layernorm_before.*': 'norm1',
      'layernorm_after.*': 'norm2'
    }
  },
  // The giant model has a gate.
  dinov2: {
    title: 'DINOv2',
    config: { activation: 'gelu', normFirst: true },
    names: {
      ...below('attention.', vit.names),
      'mlp.fc1.*': ungated('up'),
      'mlp.fc2.*': ungated('down'),
      'mlp.weights_in.*': 'gate up',
      'mlp.weights_out.*': 'down',
      ...NORMS,
      'layer_scale1.lambda1': scaleOf('output'),
      'layer_scale2.lambda1': scaleOf('down')
    }
  },
  timm: {
    title: 'timm',
    config: { activation: 'gelu', normFirst: true },
    names: {
      ...below('attn.', timm.names),
      ...MLP,
      ...NORMS,
      'ls1.gamma': scaleOf('output'),
      'ls2.gamma': scaleOf('down')
    }
  },
  // Also SigLIP.
  clip: {
    title: 'CLIP',
    config: { activation: 'quick-gelu', normFirst: true },
    names: { ...below('self_attn.', whisper.names), ...MLP, 'layer_norm1.*': 'norm1', 'layer_norm2.*': 'norm2' }
  },
  // Also BART.
  whisper: {
    title: 'Whisper',
    config: { activation: 'gelu', normFirst: true },
    names: {
      ...below('self_attn.', whisper.names),
      ...SMALL,
      'self_attn_layer_norm.*': 'norm1',
      'final_layer_norm.*': 'norm2'
    },
    zeros: ['key']
  },
  wav2vec2: {
    title: 'wav2vec 2.0',
    config: { activation: 'gelu' },
    names: {
      ...below('attention.', whisper.names),
      'feed_forward.intermediate_dense.*': 'up',
      'feed_forward.output_dense.*': 'down',
      'layer_norm.*': 'norm1',
      'final_layer_norm.*': 'norm2'
    }
  },
  t5: {
    title: 'T5',
    config: { norm: 'rms', normFirst: true },
    names: { ...below('layer.0.SelfAttention.', t5.names), 'layer.0.layer_norm.*': 'norm1', ...t5FeedForward(1) }
  },
  modernbert: {
    title: 'ModernBERT',
    config: { activation: 'gelu', normFirst: true },
    names: {
      ...below('attn.', modernbert.names),
      'mlp.Wi.*': 'gate up',
      'mlp.Wo.*': 'down',
      'attn_norm.*': 'norm1',
      'mlp_norm.*': 'norm2'
    }
  },
  // Norms have biases, projections have none.
  nomic: {
    title: 'Nomic',
    config: { activation: 'silu' },
    names: {
      ...below('attn.', nomic.names),
      'mlp.fc11.*': 'up',
      'mlp.fc12.*': 'gate',
      'mlp.fc2.*': 'down',
      ...NORMS,
      // In memory, in Transformers 5.
      ...below('self_attn.', llama.names),
      ...LLAMA_FEED_FORWARD,
      'post_attention_layernorm.*': 'norm1',
      'post_mlp_layernorm.*': 'norm2'
    },
    zeros: ['query', 'key', 'value', 'output', 'up', 'gate', 'down']
  }
}

const LLAMA_NORMS = {
  'input_layernorm.*': 'input_norm',
  'post_attention_layernorm.*': 'post_attention_norm',
  'pre_feedforward_layernorm.*': 'pre_feedforward_norm',
  'post_feedforward_layernorm.*': 'post_feedforward_norm'
}
const NEOX_FEED_FORWARD = below('mlp.', { 'dense_h_to_4h.*': 'up', 'dense_4h_to_h.*': 'down' })

/** Decoder-only layers. @type {Readonly<Record<string, Family>>} */
export const DECODER = {
  // Also Mistral, Qwen, Gemma, OLMo 2 and SmolLM 3.
  llama: {
    title: 'Llama',
    config: { activation: 'silu' },
    names: { ...below('self_attn.', llama.names), ...LLAMA_FEED_FORWARD, ...LLAMA_NORMS },
    zeros: ['output']
  },
  gpt2: {
    title: 'GPT-2',
    config: { activation: 'gelu-tanh' },
    names: {
      ...below('attn.', gpt2.names),
      'mlp.c_fc.*': transposed('up'),
      'mlp.c_proj.*': transposed('down'),
      'ln_1.*': 'input_norm',
      'ln_2.*': 'post_attention_norm'
    }
  },
  gpt_neox: {
    title: 'GPT-NeoX',
    config: { activation: 'gelu', parallel: true },
    names: { ...below('attention.', gpt_neox.names), ...NEOX_FEED_FORWARD, ...LLAMA_NORMS }
  },
  bloom: {
    title: 'BLOOM',
    config: { activation: 'gelu-tanh' },
    names: { ...below('self_attention.', gpt_neox.names), ...NEOX_FEED_FORWARD, ...LLAMA_NORMS }
  },
  phi3: {
    title: 'Phi-3',
    config: { activation: 'silu' },
    names: {
      ...below('self_attn.', phi3.names),
      'mlp.gate_up_proj.*': 'gate up',
      'mlp.down_proj.*': 'down',
      ...LLAMA_NORMS
    }
  },
  starcoder2: {
    title: 'StarCoder 2',
    config: { activation: 'gelu-tanh' },
    names: { ...below('self_attn.', llama.names), 'mlp.c_fc.*': 'up', 'mlp.c_proj.*': 'down', ...LLAMA_NORMS }
  }
}

const CROSS = 'cross_'

/** Layers with a self- and a cross-attention. @type {Readonly<Record<string, Family>>} */
export const CROSS_DECODER = {
  torch: {
    title: 'PyTorch',
    names: {
      ...below('self_attn.', torch.names),
      ...below('multihead_attn.', torch.names, CROSS),
      ...TORCH_FEED_FORWARD,
      ...NORMS,
      'norm3.*': 'norm3'
    }
  },
  // Also BART.
  whisper: {
    title: 'Whisper',
    config: { activation: 'gelu', normFirst: true },
    names: {
      ...below('self_attn.', whisper.names),
      ...below('encoder_attn.', whisper.names, CROSS),
      ...SMALL,
      'self_attn_layer_norm.*': 'norm1',
      'encoder_attn_layer_norm.*': 'norm2',
      'final_layer_norm.*': 'norm3'
    },
    zeros: ['key', `${CROSS}key`]
  },
  t5: {
    title: 'T5',
    config: { norm: 'rms', normFirst: true },
    names: {
      ...below('layer.0.SelfAttention.', t5.names),
      ...below('layer.1.EncDecAttention.', t5.names, CROSS),
      'layer.0.layer_norm.*': 'norm1',
      'layer.1.layer_norm.*': 'norm2',
      ...t5FeedForward(2)
    }
  },
  diffusers: {
    title: 'diffusers',
    config: { activation: 'gelu', normFirst: true },
    names: {
      ...below('attn1.', diffusers.names),
      ...below('attn2.', diffusers.names, CROSS),
      'ff.net.0.proj.*': 'up gate',
      'ff.net.2.*': 'down',
      ...NORMS,
      'norm3.*': 'norm3'
    },
    zeros: ['query', 'key', 'value', `${CROSS}query`, `${CROSS}key`, `${CROSS}value`]
  }
}
