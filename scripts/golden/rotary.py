"""Writes onnx-rotary.safetensors: ONNX's operator RotaryEmbedding (opset 23) in float64, in this package's terms.

The operator takes cosines and sines by position. This script computes them in float64 only for the positions in use, so
large positions need no table. Its 3-D inputs [B, L, heads·D] are stored as [B, L, heads, D], with `layout: 'blhd'`.
Positions are stored as actual positions, not as row numbers of the tables; the tables include `scale` and `base`.
ONNX's own test cases use tables of random numbers, which are not angles. They are omitted, but their shapes and attributes are
covered here.
"""

import numpy as np
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from golden import Golden, normal


def evaluate(x, positions, base, scale, dim, interleaved, heads):
    """The operator on x, [B, H, L, D] or, with `heads`, [B, L, heads·D]; positions [B, L]."""
    frequencies = base ** (-np.arange(0, dim, 2, dtype=np.float64) / dim)
    used, numbers = np.unique(positions, return_inverse=True)
    angles = used[:, None].astype(np.float64) * scale * frequencies
    attributes = {"interleaved": int(interleaved)}
    if heads:
        attributes["num_heads"] = heads
    size = x.shape[-1] // heads if heads else x.shape[-1]
    if dim != size:
        attributes["rotary_embedding_dim"] = dim
    names = ["X", "cos_cache", "sin_cache", "position_ids"]
    kinds = [TensorProto.DOUBLE] * 3 + [TensorProto.INT64]
    node = helper.make_node("RotaryEmbedding", names, ["Y"], **attributes)
    inputs = [helper.make_tensor_value_info(name, kind, None) for name, kind in zip(names, kinds)]
    output = helper.make_tensor_value_info("Y", TensorProto.DOUBLE, None)
    model = helper.make_model(helper.make_graph([node], "rotary", inputs, [output]), opset_imports=[helper.make_opsetid("", 23)])
    given = [x.astype(np.float64), np.cos(angles), np.sin(angles), numbers.reshape(positions.shape).astype(np.int64)]
    return ReferenceEvaluator(model).run(None, dict(zip(names, given)))[0]


def add(golden, name, shape, *, heads=0, positions=None, base=10000.0, scale=1.0, dim=None, interleaved=False):
    """`shape` is [B, H, L, D], or [B, L, heads·D] if `heads` gives the number of heads."""
    x = normal(len(golden.cases), *shape)
    batch, length = shape[0], shape[1] if heads else shape[2]
    size = shape[-1] // heads if heads else shape[-1]
    rows = np.broadcast_to(np.arange(length) if positions is None else np.asarray(positions), (batch, length))
    y = evaluate(x, rows, base, scale, dim or size, interleaved, heads)
    options = {"layout": "blhd"} if heads else {}
    if positions is not None:
        options["positions"] = np.asarray(positions).ravel().tolist()
    defaults = {"base": 10000.0, "scale": 1.0, "dim": None, "interleaved": False}
    given = {"base": base, "scale": scale, "dim": dim, "interleaved": interleaved}
    options |= {key: value for key, value in given.items() if value != defaults[key]}
    split = (batch, length, heads, size) if heads else tuple(shape)
    golden.add(name, {"x": x.reshape(split), "output": y.reshape(split)}, options=options)


def main():
    golden = Golden("onnx-rotary", "RotaryEmbedding, opset 23, of ONNX's reference implementation in float64")
    for interleaved in (False, True):
        pairs = ", neighbours" if interleaved else ", halves"
        add(golden, f"one head{pairs}", (1, 1, 5, 8), interleaved=interleaved)
        add(golden, f"heads and batch{pairs}", (2, 3, 7, 16), interleaved=interleaved)
        add(golden, f"heads behind positions{pairs}", (2, 4, 3 * 8), heads=3, interleaved=interleaved)
        add(golden, f"a part of the features{pairs}", (2, 2, 4, 10), dim=6, interleaved=interleaved)
        add(golden, f"a part of the features, heads behind{pairs}", (1, 6, 2 * 64), heads=2, dim=32, interleaved=interleaved)
        add(golden, f"shared positions{pairs}", (2, 2, 4, 8), positions=[3, 1, 4, 1], interleaved=interleaved)
        add(golden, f"positions of each batch entry{pairs}", (2, 2, 3, 8), positions=[[0, 5, 9], [100, 2, 7]], interleaved=interleaved)
        add(golden, f"positions up to a million{pairs}", (1, 2, 4, 64), positions=[999_999, 1_000_000, 65_536, 131_071], interleaved=interleaved)
        add(golden, f"another base{pairs}", (1, 2, 6, 32), base=500_000.0, interleaved=interleaved)
        add(golden, f"interpolated positions{pairs}", (1, 2, 6, 32), scale=0.25, positions=[0, 1, 2, 4095, 4096, 8191], interleaved=interleaved)
        add(golden, f"all at once{pairs}", (2, 3, 2 * 20), heads=2, dim=12, base=1e6 + 0.5, scale=1 / 3, positions=[[1, 2, 3], [70_000, 8, 9]], interleaved=interleaved)
    golden.write()


if __name__ == "__main__":
    main()
