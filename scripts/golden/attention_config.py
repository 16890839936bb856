"""Writes attention-config.safetensors: what attention layers and encoder layers can be configured to compute.

Small random modules of transformers and PyTorch in float64. transformers takes the softmax in float32 all the same.
"""

from dataclasses import dataclass

import torch
import transformers
from torch import nn
from transformers.models.gemma2 import modeling_gemma2 as gemma2
from transformers.models.gemma3 import modeling_gemma3 as gemma3
from transformers.models.olmo2 import modeling_olmo2 as olmo2
from transformers.models.qwen2 import modeling_qwen2 as qwen2
from transformers.models.qwen3 import modeling_qwen3 as qwen3
from transformers.models.qwen3_next import modeling_qwen3_next as qwen3_next
from transformers.models.t5 import modeling_t5 as t5

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
]


def randomize(module, seed):
    """Replaces every parameter by random values whose scale keeps the magnitude of rows."""
    with torch.no_grad():
        for index, parameter in enumerate(module.parameters()):
            values = torch.from_numpy(normal((seed, 100 + index), *parameter.shape))
            parameter.copy_(values / (parameter.shape[-1] ** 0.5 if parameter.dim() > 1 else 2))
    return module.eval()


def state(module, rename=lambda name: name):
    return {f"state.{rename(name)}": value.numpy() for name, value in module.state_dict().items()}


def hidden_keys(window):
    """−∞ for later keys, and for keys `window` positions before the query or earlier."""
    i, j = torch.arange(LENGTH)[:, None], torch.arange(LENGTH)[None]
    hidden = (j > i) | (j <= i - window)
    return torch.zeros(LENGTH, LENGTH, dtype=torch.float64).masked_fill(hidden, -torch.inf)[None, None]


def families():
    """Causal attention with rotary positions."""
    rotary = qwen3.Qwen3RotaryEmbedding(qwen3.Qwen3Config(**SIZES))
    for seed, family in enumerate(FAMILIES):
        module = randomize(family.module(family.reference, 0), seed)
        tensors = state(module)
        tensors["x"] = normal((seed, 0), 2, LENGTH, 24)
        with torch.no_grad():
            x = torch.from_numpy(tensors["x"]).double()
            embeddings = rotary(x, torch.arange(LENGTH)[None])
            mask = hidden_keys(family.window)
            output = module.double()(x, position_embeddings=embeddings, attention_mask=mask)[0]
        config = {"modelDim": 24, "numHeads": 4, "kvHeads": 2, "headDim": 8, "causal": True, "rotary": {}}
        golden.add(
            family.module.__name__,
            tensors | {"output": output.numpy()},
            kind="SelfAttention",
            config=config | family.config,
        )


def encoders():
    """torch.nn.TransformerEncoderLayer without biases."""
    for seed, norm_first in ((30, False), (31, True)):
        torch.manual_seed(seed)
        arguments = dict(bias=False, norm_first=norm_first, activation="gelu", batch_first=True)
        module = nn.TransformerEncoderLayer(16, 4, 24, **arguments)
        config = {"modelDim": 16, "numHeads": 4, "feedForwardDim": 24, "activation": "gelu", "useBias": False}
        config |= {"normFirst": norm_first, "seed": seed}
        name = f"TransformerEncoderLayer without biases, norm {'first' if norm_first else 'after'}"
        initial = state(module)
        golden.add(f"{name}, initial", initial, kind="initial", config=config, order=list(module.state_dict()))
        randomize(module, seed)
        tensors = state(module) | {"x": normal((seed, 0), 2, LENGTH, 16)}
        with torch.no_grad():
            output = module.double()(torch.from_numpy(tensors["x"]).double())
        golden.add(name, tensors | {"output": output.numpy()}, kind="TransformerEncoderLayer", config=config)


families()
golden.write()
