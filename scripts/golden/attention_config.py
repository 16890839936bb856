"""Writes attention-config.safetensors: what attention layers and encoder layers can be configured to compute.

Small random modules of transformers and PyTorch in float64. transformers takes the softmax in float32 all the same.
"""

from dataclasses import dataclass

import torch
import transformers
from torch import nn
from transformers.models.gemma2 import modeling_gemma2 as gemma2
from transformers.models.gemma3 import modeling_gemma3 as gemma3
from transformers.models.modernbert import modeling_modernbert as modernbert
from transformers.models.olmo2 import modeling_olmo2 as olmo2
from transformers.models.qwen2 import modeling_qwen2 as qwen2
from transformers.models.qwen3 import modeling_qwen3 as qwen3
from transformers.models.qwen3_next import modeling_qwen3_next as qwen3_next

from golden import Golden, normal

golden = Golden(
    "attention-config",
    f"transformers {transformers.__version__} and PyTorch {torch.__version__.split('+')[0]}",
)

SIZES = dict(
    hidden_size=24,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    num_hidden_layers=1,
    attn_implementation="eager",
)
LENGTH = 9


@dataclass
class Family:
    """An attention module of transformers, and the configuration of this package that equals it."""

    module: type
    reference: transformers.PretrainedConfig
    config: dict
    window: int = LENGTH
    rotary: nn.Module = qwen3.Qwen3RotaryEmbedding(qwen3.Qwen3Config(**SIZES))


QWEN3_NEXT = qwen3_next.Qwen3NextConfig(**SIZES, partial_rotary_factor=0.25)

FAMILIES = [
    Family(
        qwen2.Qwen2Attention,
        qwen2.Qwen2Config(**SIZES),
        {"useBias": {"query": True, "key": True, "value": True, "output": False}},
    ),
    Family(qwen3.Qwen3Attention, qwen3.Qwen3Config(**SIZES), {"useBias": False, "qkNorm": "head"}),
    Family(
        gemma2.Gemma2Attention,
        gemma2.Gemma2Config(**SIZES, query_pre_attn_scalar=5, attn_logit_softcapping=2.0),
        {"useBias": False, "scale": 5**-0.5, "softcap": 2},
    ),
    Family(
        gemma3.Gemma3Attention,
        gemma3.Gemma3TextConfig(**SIZES, layer_types=["sliding_attention"], sliding_window=3, query_pre_attn_scalar=5),
        {"useBias": False, "scale": 5**-0.5, "window": [2, 0], "qkNorm": {"over": "head", "weightOffset": 1}},
        window=3,
    ),
    Family(
        olmo2.Olmo2Attention,
        olmo2.Olmo2Config(**SIZES, rms_norm_eps=1e-3),
        {"useBias": False, "qkNorm": {"over": "model", "epsilon": 1e-3}},
    ),
    Family(
        qwen3_next.Qwen3NextAttention,
        QWEN3_NEXT,
        {
            "useBias": False,
            "outputGate": True,
            "qkNorm": {"over": "head", "weightOffset": 1},
            "rotary": {"dim": 2},
        },
        rotary=qwen3_next.Qwen3NextRotaryEmbedding(QWEN3_NEXT),
    ),
]


def randomize(module, seed):
    """Replaces every parameter by random values whose scale keeps the magnitude of rows."""
    with torch.no_grad():
        for index, parameter in enumerate(module.parameters()):
            values = torch.from_numpy(normal((seed, 100 + index), *parameter.shape))
            parameter.copy_(values / (parameter.shape[-1] ** 0.5 if parameter.dim() > 1 else 2))
    return module.eval()


def state(module, rename=lambda name: name):
    return {f"state.{rename(name)}": value.numpy().copy() for name, value in module.state_dict().items()}


def hidden_keys(window):
    """−∞ for later keys, and for keys `window` positions before the query or earlier."""
    i, j = torch.arange(LENGTH)[:, None], torch.arange(LENGTH)[None]
    hidden = (j > i) | (j <= i - window)
    return torch.zeros(LENGTH, LENGTH, dtype=torch.float64).masked_fill(hidden, -torch.inf)[None, None]


def families():
    """Causal attention with rotary positions."""
    for seed, family in enumerate(FAMILIES):
        module = randomize(family.module(family.reference, 0), seed)
        tensors = state(module)
        tensors["x"] = normal((seed, 0), 2, LENGTH, 24)
        with torch.no_grad():
            x = torch.from_numpy(tensors["x"]).double()
            embeddings = family.rotary(x, torch.arange(LENGTH)[None])
            mask = hidden_keys(family.window)
            output = module.double()(x, position_embeddings=embeddings, attention_mask=mask)[0]
        config = {"modelDim": 24, "numHeads": 4, "kvHeads": 2, "headDim": 8, "causal": True, "rotary": {}}
        golden.add(
            family.module.__name__,
            tensors | {"output": output.numpy()},
            layer="SelfAttention",
            config=config | family.config,
        )


def extra_keys():
    """`torch.nn.MultiheadAttention` with keys of its own: initial parameters, and attention with weights."""
    for seed, bias_kv, zero in ((20, True, False), (21, False, True), (22, True, True)):
        torch.manual_seed(seed)
        arguments = dict(add_bias_kv=bias_kv, add_zero_attn=zero, batch_first=True)
        module = nn.MultiheadAttention(16, 2, **arguments)
        config = {"modelDim": 16, "numHeads": 2, "addBiasKv": bias_kv, "addZeroAttn": zero, "seed": seed}
        name = "MultiheadAttention with " + " and ".join(["bias_kv"] * bias_kv + ["zero_attn"] * zero)
        order = list(module.state_dict())
        golden.add(f"{name}, initial", state(module), kind="initial", layer="SelfAttention", config=config, order=order)
        randomize(module, seed)
        tensors = state(module) | {"x": normal((seed, 0), 2, LENGTH, 16)}
        with torch.no_grad():
            x = torch.from_numpy(tensors["x"]).double()
            hidden = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
            output, weights = module.double()(x, x, x, attn_mask=hidden, average_attn_weights=False)
        tensors |= {"output": output.numpy(), "weights": weights.numpy()}
        golden.add(name, tensors, layer="SelfAttention", config=config | {"causal": True})


def encoders():
    """`torch.nn.TransformerEncoderLayer` without biases."""
    for seed, norm_first in ((30, False), (31, True)):
        torch.manual_seed(seed)
        arguments = dict(bias=False, norm_first=norm_first, activation="gelu", batch_first=True)
        module = nn.TransformerEncoderLayer(16, 4, 24, **arguments)
        config = {"modelDim": 16, "numHeads": 4, "feedForwardDim": 24, "activation": "gelu", "useBias": False}
        config |= {"normFirst": norm_first, "seed": seed}
        name = f"TransformerEncoderLayer without biases, norm {'first' if norm_first else 'after'}"
        initial = state(module)
        golden.add(f"{name}, initial", initial, kind="initial", layer="TransformerEncoderLayer", config=config, order=list(module.state_dict()))
        randomize(module, seed)
        tensors = state(module) | {"x": normal((seed, 0), 2, LENGTH, 16)}
        with torch.no_grad():
            output = module.double()(torch.from_numpy(tensors["x"]).double())
        golden.add(name, tensors | {"output": output.numpy()}, layer="TransformerEncoderLayer", config=config)


def block(name, module, config, **given):
    """A block of transformers, without a mask."""
    randomize(module, config["seed"])
    tensors = state(module) | {"x": normal((config["seed"], 0), 2, LENGTH, 24)}
    with torch.no_grad():
        output = module.double()(torch.from_numpy(tensors["x"]).double(), **given)
    output = output if torch.is_tensor(output) else output[0]
    golden.add(name, tensors | {"output": output.numpy()}, layer="TransformerEncoderLayer", config=config)


def blocks():
    """Encoder blocks with gates, and with or without norms before the attention."""
    sizes = {"modelDim": 24, "numHeads": 4, "feedForwardDim": 20, "useBias": False, "normFirst": True, "gated": True}
    reference = modernbert.ModernBertConfig(
        hidden_size=24,
        num_attention_heads=4,
        intermediate_size=20,
        num_hidden_layers=2,
        layer_types=["full_attention"] * 2,
        attn_implementation="eager",
    )
    rotary = qwen3.Qwen3RotaryEmbedding(qwen3.Qwen3Config(hidden_size=24, num_attention_heads=4, head_dim=6))
    embeddings = rotary(torch.zeros(1, dtype=torch.float64), torch.arange(LENGTH)[None])
    for layer in range(2):
        config = sizes | {"activation": "gelu", "attention": {"rotary": {}}, "attentionNorm": layer > 0, "seed": 40 + layer}
        module = modernbert.ModernBertEncoderLayer(reference, layer)
        block(f"ModernBertEncoderLayer {layer}", module, config, position_embeddings=embeddings)


families()
extra_keys()
encoders()
blocks()
golden.write()
