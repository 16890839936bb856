"""Writes rotary-scaling.safetensors: rotary frequencies and rotations of Hugging Face's transformers.

Frequencies come from ROPE_INIT_FUNCTIONS, and from Qwen2.5-VL's own rotary embedding for M-RoPE. They compute in torch.float,
which is double here, so the lists in the metadata are exact to rounding of doubles.
"""

import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLTextConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLRotaryEmbedding, apply_rotary_pos_emb

from golden import Golden, normal

torch.float = torch.float32 = torch.float64
torch.Tensor.float = torch.Tensor.double

FACTORS = [1 + 0.1 * pair for pair in range(8)]
LONG = [1.5 + pair**1.5 for pair in range(8)]

# name, dict, head size, options beside the dict, lengths
CASES = [
    ("default", {"rope_type": "default", "rope_theta": 500000.0}, 16, {}, [None]),
    ("a part", {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25}, 32, {}, [None]),
    ("linear", {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0}, 16, {}, [None]),
    ("linear of version 4", {"type": "linear", "factor": 2.5}, 16, {"base": 10000.0}, [None]),
    ("dynamic", {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}, 16, {"maxPositions": 64}, [None, 10, 64, 65, 300]),
    ("yarn", {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768, "rope_theta": 1000000.0}, 128, {"maxPositions": 131072}, [None]),
    ("yarn, gpt-oss", {"rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0, "original_max_position_embeddings": 4096, "rope_theta": 150000.0, "truncate": False}, 64, {"maxPositions": 131072}, [None]),
    ("yarn, DeepSeek", {"type": "yarn", "factor": 40, "beta_fast": 32, "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 0.707, "original_max_position_embeddings": 4096}, 64, {"base": 10000.0, "maxPositions": 163840}, [None]),
    ("yarn, factor from lengths", {"rope_type": "yarn", "factor": None, "attention_factor": 1.25, "original_max_position_embeddings": 1024, "rope_theta": 10000.0}, 32, {"maxPositions": 6000}, [None]),
    ("yarn, a part", {"rope_type": "yarn", "factor": 16.0, "original_max_position_embeddings": 2048, "rope_theta": 10000.0, "partial_rotary_factor": 0.5}, 64, {"maxPositions": 32768}, [None]),
    ("longrope", {"rope_type": "longrope", "short_factor": FACTORS, "long_factor": LONG, "rope_theta": 10000.0, "factor": 32.0, "original_max_position_embeddings": 4096}, 16, {"maxPositions": 131072}, [None, 4096, 4097]),
    ("longrope, Phi-3", {"type": "longrope", "short_factor": FACTORS, "long_factor": LONG}, 16, {"base": 10000.0, "maxPositions": 131072, "originalMaxPositions": 4096}, [None, 5000]),
    ("longrope, attention factor", {"rope_type": "longrope", "short_factor": FACTORS, "long_factor": LONG, "rope_theta": 10000.0, "attention_factor": 1.5, "original_max_position_embeddings": 4096}, 16, {"maxPositions": 131072}, [None]),
    ("llama3", {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192, "rope_theta": 500000.0}, 128, {"maxPositions": 131072}, [None]),
    ("llama3 of version 4", {"type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}, 64, {"base": 500000.0, "maxPositions": 131072}, [None]),
    ("proportional", {"rope_type": "proportional", "rope_theta": 1000000.0, "partial_rotary_factor": 0.25}, 64, {}, [None]),
    ("proportional, factor", {"rope_type": "proportional", "rope_theta": 1000000.0, "factor": 8.0}, 16, {}, [None]),
]


def config_of(scaling, head_dim, options):
    """The configuration that has this dict, with what version 4 has beside it."""
    given = {"max_position_embeddings": options.get("maxPositions", 2048), "rope_theta": options.get("base", 10000.0)}
    if "originalMaxPositions" in options:
        given["original_max_position_embeddings"] = options["originalMaxPositions"]
    return LlamaConfig(hidden_size=4 * head_dim, num_attention_heads=4, head_dim=head_dim, rope_scaling=dict(scaling), **given)


def add_frequencies(golden, name, scaling, head_dim, options, lengths):
    for length in lengths:
        config = config_of(scaling, head_dim, options)
        kind = config.rope_parameters["rope_type"]
        if kind == "default":
            # Llama's own function ignores the part.
            part = scaling.get("partial_rotary_factor", 1.0)
            config.head_dim = int(head_dim * part)
            frequencies, factor = LlamaRotaryEmbedding.compute_default_rope_parameters(config)
        else:
            frequencies, factor = ROPE_INIT_FUNCTIONS[kind](config, seq_len=length)
        given = {"headDim": head_dim, "scaling": scaling, **options} | ({} if length is None else {"length": length})
        label = name if length is None else f"{name}, length {length}"
        golden.add(label, {}, options=given, frequencies=frequencies.double().tolist(), factor=float(factor))


def add_sections(golden, name, scaling, positions, batch=1):
    """M-RoPE: q is [B, H, L, D], rotated by positions [3, B, L]."""
    config = Qwen2_5_VLTextConfig(hidden_size=64, num_attention_heads=2, rope_scaling=dict(scaling), rope_theta=10000.0, max_position_embeddings=4096)
    rotary = Qwen2_5_VLRotaryEmbedding(config)
    positions = torch.tensor(positions)
    q = torch.tensor(normal(len(golden.cases), batch, 2, positions.shape[-1], 32)).double()
    cos, sin = rotary(q, positions)
    output, _ = apply_rotary_pos_emb(q, q, cos, sin)
    golden.add(name, {"x": q.numpy(), "output": output.numpy()}, options={"scaling": scaling, "base": 10000.0, "maxPositions": 4096}, positions=positions.tolist())


def main():
    golden = Golden("rotary-scaling", "ROPE_INIT_FUNCTIONS and Qwen2.5-VL's rotary embedding of transformers 5 in float64")
    for case in CASES:
        add_frequencies(golden, *case)
    image = [[[0, 1, 1, 1, 1, 3]], [[0, 1, 1, 2, 2, 3]], [[0, 1, 2, 1, 2, 3]]]
    add_sections(golden, "sections of version 4", {"type": "mrope", "mrope_section": [4, 6, 6]}, image)
    two = [[[0, 1, 2], [7, 7, 9]], [[0, 1, 2], [7, 8, 9]], [[0, 1, 2], [7, 9, 9]]]
    add_sections(golden, "sections of two entries", {"rope_type": "default", "mrope_section": [2, 2, 12]}, two, batch=2)
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024, "mrope_section": [4, 6, 6]}
    add_sections(golden, "sections with yarn", yarn, image)
    golden.write()


if __name__ == "__main__":
    main()
