"""Writes linear-attention.safetensors: linear attention by the equations of Katharopoulos et al. 2020, in float64.

Causal cases use the paper's recurrence (equations 16 to 20), one position at a time; the others use the sums over all
keys (equations 4 to 6). Both are verified against the quadratic form, with a mask for causal cases.
"""

import numpy as np
import torch
import torch.nn.functional as F

from golden import Golden, normal

golden = Golden(
    "linear-attention",
    f"Katharopoulos et al. 2020, Transformers are RNNs, equations 4 to 6 and 16 to 20, PyTorch {torch.__version__.split('+')[0]}, float64",
)

MAPS = {"elu": lambda x: F.elu(x) + 1, "relu": lambda x: F.relu(x) + 1e-3}


def split(x, heads):
    """[B, L, H·D] as [B, H, L, D]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def join(x):
    return x.transpose(1, 2).flatten(2)


def quadratic(q, k, v, seen):
    weights = torch.where(seen, q @ k.transpose(-1, -2), 0)
    total = weights.sum(-1, keepdim=True)
    return torch.where(total > 0, weights / torch.where(total > 0, total, 1), 0) @ v


def recurrent(q, k, v, lengths):
    """Equations 16 to 20: the state after every position, and its output row."""
    batch, heads, rows, _ = q.shape
    sums = q.new_zeros(batch, heads, q.shape[-1], v.shape[-1])
    keys = q.new_zeros(batch, heads, q.shape[-1])
    output = []
    for i in range(rows):
        if i < k.shape[2]:
            valid = (i < lengths).double()[:, None, None]
            keys = keys + valid * k[:, :, i]
            sums = sums + (valid[..., None] * k[:, :, i, :, None]) * v[:, :, i, None, :]
        total = torch.einsum("bhf,bhf->bh", q[:, :, i], keys)[..., None]
        row = torch.einsum("bhf,bhfe->bhe", q[:, :, i], sums)
        output.append(torch.where(total > 0, row / torch.where(total > 0, total, 1), 0))
    return torch.stack(output, 2)


def case(name, q, k, v, feature_map, heads=None, causal=False, kv_lengths=None):
    """Adds a case; q, k and v are [B, H, L, D], or [B, L, H·D] if the number of heads is given."""
    full = [torch.from_numpy(x).double() for x in (q, k, v)]
    query, key, value = [split(x, heads) for x in full] if heads else full
    phi = MAPS[feature_map]
    features, size, keys = phi(query), query.shape[-1], key.shape[2]
    lengths = torch.as_tensor([keys] * q.shape[0] if kv_lengths is None else kv_lengths)
    j = torch.arange(keys).reshape(1, 1, 1, -1)
    seen = (j < lengths.reshape(-1, 1, 1, 1)).expand(-1, 1, query.shape[2], -1)
    if causal:
        seen = seen & (j <= torch.arange(query.shape[2]).reshape(1, 1, -1, 1))
        output = recurrent(features, phi(key), value, lengths)
    else:
        valid = (torch.arange(keys) < lengths[:, None])[:, None, :, None]
        summed = torch.where(valid, phi(key), 0)
        total = features @ summed.sum(2)[..., None]
        output = torch.where(total > 0, features @ (summed.transpose(-1, -2) @ value) / torch.where(total > 0, total, 1), 0)
    assert torch.allclose(output, quadratic(features, phi(key), value, seen), rtol=1e-12, atol=1e-12), name
    tensors = {"q": q, "k": k, "v": v, "output": (join(output) if heads else output).numpy()}
    tensors["features"] = (join(features) if heads else features).numpy()
    options = {"causal": causal} | ({"kvLengths": kv_lengths} if kv_lengths else {})
    config = {"modelDim": size * (heads or 1), "numHeads": heads or 1, "featureMap": feature_map}
    golden.add(name, tensors, config=config, options=options)


def four(seed, batch=2, heads=2, length=5, keys=7, size=8, value_size=None):
    return (
        normal((seed, 0), batch, heads, length, size),
        normal((seed, 1), batch, heads, keys, size),
        normal((seed, 2), batch, heads, keys, value_size or size),
    )


def three(seed, batch=2, heads=2, length=5, keys=7, size=8, value_size=None):
    q, k, v = four(seed, batch, heads, length, keys, size, value_size)
    return tuple(np.ascontiguousarray(x.swapaxes(1, 2)).reshape(batch, x.shape[2], -1) for x in (q, k, v))


if __name__ == "__main__":
    for index, feature_map in enumerate(MAPS):
        for causal in (False, True):
            seed = 1000 * index + 500 * causal
            how = f"{feature_map}{', causal' if causal else ''}"
            for size in (1, 3, 8, 17, 64):
                inputs = four(seed + size, batch=1, heads=1, length=6, keys=6, size=size)
                case(f"{how}, head size {size}", *inputs, feature_map, causal=causal)
            case(f"{how}, heads apart", *four(seed + 100), feature_map, causal=causal)
            case(f"{how}, heads side by side", *three(seed + 101, heads=3), feature_map, heads=3, causal=causal)
            case(f"{how}, values of another size", *three(seed + 102, value_size=5), feature_map, heads=2, causal=causal)
            lengths = four(seed + 103, batch=3, length=9, keys=9)
            case(f"{how}, lengths", *lengths, feature_map, causal=causal, kv_lengths=[9, 4, 0])
            case(f"{how}, more queries than keys", *four(seed + 104, length=9, keys=4), feature_map, causal=causal)
            case(f"{how}, more keys than queries", *four(seed + 105, length=3, keys=11), feature_map, causal=causal)
            for length in (64, 130):
                inputs = four(seed + 200 + length, batch=1, heads=1, length=length, keys=length, size=6)
                case(f"{how}, {length} positions", *inputs, feature_map, causal=causal)
            large = [x * 20 for x in four(seed + 106, length=8, keys=8)]
            case(f"{how}, large inputs", *large, feature_map, causal=causal)
    golden.write()
