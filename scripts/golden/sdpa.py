"""Writes torch-sdpa.safetensors: scaled dot-product attention as torch.nn.functional computes it in float64.

The formula below provides the features that torch's function lacks (softcap, windows, offsets, lengths, logSumExp and
stages). It is verified against torch's function wherever that can express the case.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F

from golden import Golden, normal

golden = Golden("torch-sdpa", f"torch.nn.functional.scaled_dot_product_attention, PyTorch {torch.__version__.split('+')[0]}, float64")


def f64(array):
    return torch.from_numpy(np.asarray(array)).double()


def visible(shape, mask, causal, window, query_offset, kv_lengths):
    """The visible keys of each query, [B, H, L, S]."""
    batch, _, length, keys = shape
    offset = torch.as_tensor(0 if query_offset is None else query_offset).reshape(-1, 1, 1, 1)
    i, j = torch.arange(length).reshape(1, 1, -1, 1) + offset, torch.arange(keys).reshape(1, 1, 1, -1)
    seen = torch.ones(shape, dtype=torch.bool)
    if mask is not None:
        seen = seen & (torch.from_numpy(mask) if mask.dtype == np.bool_ else torch.from_numpy(mask) != -math.inf)
    if causal:
        seen = seen & (j <= i)
    if window is not None:
        left, right = window
        seen = seen & ((j >= i - left) if left >= 0 else True) & ((j <= i + right) if right >= 0 else True)
    if kv_lengths is not None:
        seen = seen & (j < torch.as_tensor(kv_lengths).reshape(batch, 1, 1, 1))
    return seen


def attention(q, k, v, mask=None, causal=False, window=None, query_offset=None, kv_lengths=None, scale=None, softcap=None):
    """The formula, [B, H, L, D] in float64; keys and values that no query sees are omitted, whatever they contain."""
    heads, groups = q.shape[1], k.shape[1]
    k, v = (x.repeat_interleave(heads // groups, dim=1) for x in (k, v))
    stages = {"scores": q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)}
    stages["softcapped"] = softcap * torch.tanh(stages["scores"] / softcap) if softcap else stages["scores"]
    seen = visible(stages["scores"].shape, mask, causal, window, query_offset, kv_lengths)
    bias = f64(mask) if mask is not None and mask.dtype != np.bool_ else 0
    stages["biased"] = torch.where(seen, stages["softcapped"] + bias, -math.inf)
    log_sum_exp = torch.logsumexp(stages["biased"], -1)
    weights = torch.where(seen, torch.softmax(stages["biased"], -1), 0)
    used = seen.any(dim=-2)[..., None]
    return weights @ torch.where(used, v, 0), weights, log_sum_exp, stages


def by_torch(q, k, v, mask, causal, scale):
    if mask is not None:
        mask = torch.from_numpy(mask)
        mask = mask.reshape(1, -1) if mask.dim() == 1 else mask
        mask = mask if mask.dtype == torch.bool else mask.double()
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, scale=scale, enable_gqa=q.shape[1] != k.shape[1])


def case(name, q, k, v, mask=None, layout="bhld", stages=False, weights=True, **options):
    """Adds a case; q, k and v are [B, H, L, D], or [B, L, D] for a single head."""
    tensors = {"q": q, "k": k, "v": v}
    full = {key: f64(x)[:, None] if x.ndim == 3 else f64(x) for key, x in tensors.items()}
    output, probabilities, log_sum_exp, steps = attention(*full.values(), mask, **options)
    own = set(options) - {"causal", "scale"}
    if not own and not (mask is not None and options.get("causal")) and all(np.isfinite(x).all() for x in tensors.values()):
        expected = by_torch(*full.values(), mask, options.get("causal", False), options.get("scale"))
        assert torch.allclose(output, expected, rtol=1e-12, atol=1e-12), name
        own.add("checked")
    output = output[:, 0] if q.ndim == 3 else output
    tensors |= {"output": output.numpy()}
    if layout == "blhd":
        tensors = {key: x.swapaxes(1, 2) for key, x in tensors.items()}
    if weights:
        tensors["weights"] = probabilities.numpy()
    tensors |= {"logSumExp": log_sum_exp.numpy(), "mask": mask}
    if stages:
        tensors |= {f"stage.{key}": x.numpy() for key, x in steps.items()}
    names = {"query_offset": "queryOffset", "kv_lengths": "kvLengths"}
    described = {names.get(key, key): value for key, value in options.items()}
    if layout != "bhld":
        described["layout"] = layout
    golden.add(name, tensors, options=described, checkedByTorch="checked" in own)


def qkv(seed, batch=2, heads=3, groups=None, length=5, keys=7, dim=8, value_dim=None):
    groups = groups or heads
    return (
        normal((seed, 0), batch, heads, length, dim),
        normal((seed, 1), batch, groups, keys, dim),
        normal((seed, 2), batch, groups, keys, value_dim or dim),
    )


def boolean(seed, *shape):
    """Two keys in three are visible."""
    return np.random.default_rng((seed, 3)).random(shape) < 2 / 3


def bias(seed, *shape, hidden=0.2):
    """N(0, 1), with a share of −∞."""
    random = np.random.default_rng((seed, 4))
    values = random.standard_normal(shape).astype(np.float32)
    values[random.random(shape) < hidden] = -np.inf
    return values


def shapes():
    case("4-D", *qkv(1))
    case("3-D, one head", *(x[:, 0] for x in qkv(2)))
    case("3-D, one head, values of another size", *(x[:, 0] for x in qkv(3, value_dim=5)), causal=True)
    for dim in (1, 2, 3, 7, 15, 16, 17, 31, 33, 64, 65, 80, 128):
        case(f"head size {dim}", *qkv(100 + dim, batch=1, heads=1, length=3, keys=5, dim=dim))
    for value_dim in (1, 4, 9, 31, 66):
        case(f"value size {value_dim}", *qkv(300 + value_dim, batch=1, heads=2, length=3, keys=5, dim=6, value_dim=value_dim))
    case("grouped queries", *qkv(4, heads=6, groups=2))
    case("one key head for all queries", *qkv(5, heads=4, groups=1, value_dim=3), causal=True)
    case("layout blhd", *qkv(6), layout="blhd")
    case("layout blhd, grouped, values of another size", *qkv(7, heads=4, groups=2, value_dim=5), layout="blhd", causal=True)
    case("one query over many keys, grouped", *qkv(8, batch=1, heads=4, groups=1, length=1, keys=100, dim=64))
    case("no queries", *qkv(9, length=0))
    case("no keys", *qkv(10, keys=0))
    case("neither queries nor keys", *qkv(11, length=0, keys=0))
    case("an empty batch", *qkv(12, batch=0))
    case("no value columns", *(qkv(13)[:2]), np.zeros((2, 3, 7, 0), np.float32))
    case("one of everything", *qkv(14, batch=1, heads=1, length=1, keys=1, dim=1))


def long_rows():
    for keys in (63, 64, 65, 127, 129, 257):
        case(f"{keys} keys", *qkv(400 + keys, batch=1, heads=1, length=4, keys=keys, dim=8), weights=False)
        causal = qkv(800 + keys, batch=1, heads=1, length=9, keys=keys, dim=8)
        case(f"{keys} keys, causal at their end", *causal, weights=False, causal=True, query_offset=keys - 9)
    case("70 queries, causal, over several tiles", *qkv(15, batch=1, heads=2, groups=1, length=70, keys=150, dim=20), weights=False, causal=True)
    hidden = bias(16, 33, 140, hidden=0.5)
    hidden[:, 32:96] = -np.inf
    case("a hole as wide as a tile in the mask", *qkv(16, batch=1, heads=1, length=33, keys=140, dim=12), hidden, weights=False)


def masks():
    boolean_shapes = [(7,), (5, 7), (1, 7), (5, 1), (3, 5, 7), (3, 1, 7), (1, 5, 1), (2, 3, 5, 7), (2, 1, 1, 7), (1, 3, 5, 1), (2, 1, 5, 7), (1, 1, 1, 1)]
    for index, shape in enumerate(boolean_shapes):
        label = "×".join(map(str, shape))
        case(f"boolean mask {label}", *qkv(20 + index), boolean(20 + index, *shape))
        case(f"float mask {label}", *qkv(40 + index), bias(40 + index, *shape))
    case("boolean mask and causal", *qkv(60), boolean(60, 2, 1, 5, 7), causal=True)
    case("float mask and causal", *qkv(61), bias(61, 3, 1, 7), causal=True)
    case("boolean mask, grouped", *qkv(62, heads=4, groups=2), boolean(62, 4, 5, 7))
    case("float mask, grouped, layout blhd", *qkv(63, heads=4, groups=2), bias(63, 2, 4, 1, 7), layout="blhd")
    case("no mask but causal", *qkv(64, length=6, keys=6), causal=True)
    case("causal, more queries than keys", *qkv(65, length=7, keys=4), causal=True)
    case("causal, more keys than queries", *qkv(66, length=4, keys=7), causal=True)
    nothing = boolean(67, 5, 7)
    nothing[[0, 3]] = False
    case("rows without a visible key, boolean", *qkv(67), nothing)
    infinite = bias(68, 5, 7)
    infinite[[1, 4]] = -np.inf
    case("rows without a visible key, float", *qkv(68), infinite)
    case("a mask that hides everything", *qkv(69), np.zeros((1,), np.bool_))
    case("a huge finite bias on a whole row is uniform", *qkv(70), np.full((5, 7), np.finfo(np.float32).min, np.float32))
    mixed = np.where(boolean(71, 5, 7), 0, np.float32(-1e9)).astype(np.float32)
    case("a huge finite bias hides what has better company", *qkv(71), mixed)


def offsets():
    case("scalar offset", *qkv(80), causal=True, query_offset=2)
    case("negative offset leaves rows empty", *qkv(81), causal=True, query_offset=-3)
    case("an offset per batch entry", *qkv(82), causal=True, query_offset=[4, -1])
    case("an offset beyond the keys", *qkv(83), causal=True, query_offset=50)
    for window in ([2, 0], [1, 1], [0, 0], [-1, 2], [3, -1], [-1, -1], [0, 3], [100, 100]):
        case(f"window {window}", *qkv(90 + window[0] + 7 * window[1]), window=window)
    case("window, causal and a scalar offset", *qkv(84), window=[2, 2], causal=True, query_offset=2)
    case("window and an offset per batch entry", *qkv(85), window=[1, 2], query_offset=[3, -2])
    case("window past the keys leaves rows empty", *qkv(86), window=[1, 0], query_offset=6)
    case("lengths", *qkv(87), kv_lengths=[7, 3])
    case("lengths of zero and one", *qkv(88), kv_lengths=[0, 1])
    case("lengths and causal at the end of each", *qkv(89, length=2), kv_lengths=[6, 3], query_offset=[4, 1], causal=True)
    places = dict(causal=True, window=[3, -1], query_offset=[2, 1], kv_lengths=[6, 5])
    inputs = qkv(99, heads=4, groups=2, value_dim=5)
    case("everything at once", *inputs, bias(99, 2, 1, 5, 7), layout="blhd", scale=0.5, softcap=3.0, **places)


def scores():
    case("scale 0.01", *qkv(110), scale=0.01)
    case("scale 1", *qkv(111), scale=1.0)
    case("scale 3, causal, grouped", *qkv(112, heads=4, groups=2), scale=3.0, causal=True)
    case("softcap 2", *qkv(113), softcap=2.0)
    case("softcap 0.3 with a scale", *qkv(114), softcap=0.3, scale=2.0)
    case("softcap 30, float mask", *qkv(115), bias(115, 5, 7), softcap=30.0)
    q, k, v = qkv(116)
    case("scores of ten thousand", q * 100, k * 100, v, scale=1.0)
    case("scores of ten thousand, softcapped", q * 100, k * 100, v, scale=1.0, softcap=50.0)
    case("stages", *qkv(117, heads=4, groups=2), bias(117, 2, 1, 5, 7), stages=True, causal=True, softcap=2.0, query_offset=1)
    case("stages without options", *qkv(118), stages=True)
    case("stages with a boolean mask and an empty row", *qkv(119), np.arange(5)[:, None] != np.full((5, 7), 2), stages=True, kv_lengths=[7, 5])


def poison():
    q, k, v = qkv(120)
    for batch, length in enumerate([5, 2]):
        k[batch, :, length:] = np.nan
        v[batch, :, length:] = np.inf
    case("not-a-number beyond the lengths", q, k, v, kv_lengths=[5, 2])
    q, k, v = qkv(121)
    mask = np.ones((7,), np.bool_)
    mask[[1, 4]] = False
    k[:, :, 1], v[:, :, 4], k[:, :, 4], v[:, :, 1] = np.inf, np.nan, -np.inf, np.nan
    case("not-a-number and infinity behind a boolean mask", q, k, v, mask)
    k2, v2 = k.copy(), v.copy()
    case("not-a-number and infinity behind a float mask", q, k2, v2, np.where(mask, 0, -np.inf).astype(np.float32))


if __name__ == "__main__":
    for part in (shapes, long_rows, masks, offsets, scores, poison):
        part()
    golden.write()
