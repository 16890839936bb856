"""Biases that depend on the distance, and sinks: T5, BLOOM and gpt-oss in transformers, to __test__/golden/biases.safetensors."""

import torch
from golden import Golden, normal
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.gpt_oss.modeling_gpt_oss import eager_attention_forward
from transformers.models.t5.modeling_t5 import T5Attention

golden = Golden("biases", "transformers 5: T5Attention, build_alibi_tensor, gpt-oss' eager_attention_forward")

# Buckets of the distances −300 to 300.
distances = torch.arange(-300, 301)
for buckets, most in [(32, 128), (8, 20), (12, 13), (64, 256)]:
    for bidirectional in (False, True):
        found = T5Attention._relative_position_bucket(
            distances, bidirectional=bidirectional, num_buckets=buckets, max_distance=most
        )
        golden.add(
            f"buckets {buckets} of {most}, {'both sides' if bidirectional else 'causal'}",
            {"buckets": found.numpy().astype("float32")},
            kind="buckets",
            count=buckets,
            maxDistance=most,
            bidirectional=bidirectional,
        )

for heads in [1, 6, 8, 12, 71]:
    bias = build_alibi_tensor(torch.ones(1, 9), heads, torch.float32)
    golden.add(f"alibi of {heads} heads", {"bias": bias.view(heads, 9).numpy()}, kind="alibi", heads=heads)


class Module:
    """What eager_attention_forward reads of its module."""

    def __init__(self, groups, sinks):
        self.num_key_value_groups, self.sinks, self.training = groups, sinks, False


for name, (batch, groups, group, queries, keys, size), seed in [
    ("one row", (2, 2, 2, 1, 37, 16), 1),
    ("a square", (1, 2, 2, 35, 35, 8), 2),
    ("one head each", (1, 3, 1, 20, 33, 24), 3),
]:
    q = torch.tensor(normal(seed, batch, groups * group, queries, size))
    k, v = (torch.tensor(normal(seed + salt, batch, groups, keys, size)) for salt in (10, 20))
    sinks = torch.tensor(2 * normal(seed + 30, groups * group))
    output, weights = eager_attention_forward(
        Module(group, sinks.double()), q.double(), k.double(), v.double(), None, scaling=size**-0.5
    )
    tensors = {"q": q, "k": k, "v": v, "sinks": sinks, "output": output.transpose(1, 2), "weights": weights}
    golden.add(name, {key: value.contiguous().numpy() for key, value in tensors.items()}, kind="sinks")

golden.write()
