"""Writes torch-layers.safetensors: torch.nn.MultiheadAttention, torch.nn.Linear and torch.softmax.

Initial state dicts are PyTorch's own float32 numbers after torch.manual_seed; forward passes run in float64.
"""

import copy

import numpy as np
import torch

from golden import Golden, normal

golden = Golden("torch-layers", f"torch.nn.MultiheadAttention, torch.nn.Linear and torch.softmax, PyTorch {torch.__version__.split('+')[0]}")


def layer(seed, model_dim, heads, k_dim=None, v_dim=None, bias=True):
    torch.manual_seed(seed)
    return torch.nn.MultiheadAttention(model_dim, heads, bias=bias, kdim=k_dim, vdim=v_dim, batch_first=True)


def config(seed, model_dim, heads, k_dim=None, v_dim=None, bias=True):
    """The layer's configuration in this package's terms."""
    described = {"numHeads": heads, "headDim": model_dim // heads, "seed": seed}
    described |= {} if k_dim is None else {"kDim": k_dim}
    described |= {} if v_dim is None else {"vDim": v_dim}
    return described | ({} if bias else {"useBias": False})


def state(module):
    return {f"state.{name}": parameter.detach().numpy() for name, parameter in module.state_dict().items()}


def initial():
    for arguments in (
        dict(seed=0, model_dim=32, heads=4),
        dict(seed=1234, model_dim=24, heads=3),
        dict(seed=7, model_dim=16, heads=2, k_dim=12, v_dim=20),
        dict(seed=7, model_dim=16, heads=2, k_dim=16, v_dim=20),
        dict(seed=42, model_dim=16, heads=4, bias=False),
        dict(seed=43, model_dim=12, heads=1, k_dim=5, v_dim=7, bias=False),
        dict(seed=2**31 + 5, model_dim=8, heads=2),
        dict(seed=2**32 + 7, model_dim=8, heads=2),
    ):
        module = layer(**arguments)
        title = "initial, " + ", ".join(f"{name} {value}" for name, value in arguments.items())
        golden.add(title, state(module), kind="initial", config=config(**arguments), order=list(module.state_dict()))


def forward(name, arguments, batch=2, length=5, keys=None, mask=None, causal=False, kv_lengths=None):
    """A forward pass with random biases; keys=None is self-attention."""
    module = layer(**arguments)
    tensors = {}
    with torch.no_grad():
        for index, (key, parameter) in enumerate(module.named_parameters()):
            if "bias" in key:
                parameter.copy_(torch.from_numpy(normal((arguments["seed"], 10 + index), *parameter.shape)))
        tensors |= state(module)
        size = arguments["model_dim"]
        seed = arguments["seed"]
        tensors["q"] = normal((seed, 0), batch, length, size)
        if keys is not None:
            tensors["k"] = normal((seed, 1), batch, keys, arguments.get("k_dim") or size)
            tensors["v"] = normal((seed, 2), batch, keys, arguments.get("v_dim") or size)
        tensors["mask"] = mask
        query = torch.from_numpy(tensors["q"]).double()
        key, value = (torch.from_numpy(tensors[n]).double() if keys is not None else query for n in "kv")

        hidden = None
        if mask is not None:
            # torch.nn.MultiheadAttention hides keys where a boolean mask is True, unlike scaled_dot_product_attention.
            hidden = ~torch.from_numpy(mask) if mask.dtype == np.bool_ else torch.from_numpy(mask).double()
            if hidden.dim() == 4:
                heads = arguments["heads"]
                hidden = hidden.expand(batch, heads, *hidden.shape[2:]).reshape(batch * heads, *hidden.shape[2:])
        elif causal:
            hidden = torch.ones(length, key.shape[1], dtype=torch.bool).triu(1)
        padding = None
        if kv_lengths is not None:
            padding = torch.arange(key.shape[1])[None] >= torch.tensor(kv_lengths)[:, None]
            if hidden is not None and hidden.dtype != torch.bool:
                padding = torch.zeros(padding.shape, dtype=torch.float64).masked_fill(padding, -torch.inf)
        exact = copy.deepcopy(module).double().eval()
        for average in (True, False):
            output, weights = exact(query, key, value, attn_mask=hidden, key_padding_mask=padding, average_attn_weights=average)
            tensors["averageWeights" if average else "weights"] = weights.numpy()
        tensors["output"] = output.numpy()
    options = {}
    if causal:
        options["causal"] = True
    if kv_lengths is not None:
        options["kvLengths"] = kv_lengths
    golden.add(name, tensors, kind="forward", config=config(**arguments), options=options)


def multi_head():
    random = np.random.default_rng(5)
    forward("self", dict(seed=1, model_dim=16, heads=4))
    forward("self, one head, one token", dict(seed=2, model_dim=8, heads=1), batch=1, length=1)
    forward("self, causal", dict(seed=3, model_dim=24, heads=2), causal=True)
    forward("self, padding", dict(seed=4, model_dim=16, heads=2), kv_lengths=[5, 2])
    forward("self, boolean mask", dict(seed=5, model_dim=16, heads=2), mask=random.random((5, 5)) < 0.7)
    forward("self, float mask and padding", dict(seed=6, model_dim=16, heads=2), mask=random.standard_normal((5, 5)).astype(np.float32), kv_lengths=[3, 4])
    per_head = random.random((2, 4, 5, 5)) < 0.7
    per_head[..., 0] = True
    forward("self, boolean mask per batch entry and head", dict(seed=7, model_dim=16, heads=4), mask=per_head)
    forward("self without biases", dict(seed=8, model_dim=16, heads=4, bias=False))
    forward("cross", dict(seed=9, model_dim=16, heads=2), keys=7)
    forward("cross, other sizes", dict(seed=10, model_dim=16, heads=4, k_dim=12, v_dim=20), keys=7, kv_lengths=[7, 1])
    forward("cross, other sizes, no biases, causal", dict(seed=11, model_dim=12, heads=3, k_dim=7, v_dim=5, bias=False), keys=3, causal=True)
    forward("cross, more queries than keys", dict(seed=12, model_dim=16, heads=2, v_dim=6), length=9, keys=2)


def linear():
    shapes = [((3, 5), 4, True), ((5,), 7, True), ((2, 3, 9), 6, False), ((2, 1, 4, 17), 33, True)]
    shapes += [((65, 40), 19, True), ((1, 1), 1, True), ((0, 5), 4, True)]
    for index, (shape, size, bias) in enumerate(shapes):
        seed = 200 + index
        x, weight = normal((seed, 0), *shape), normal((seed, 1), size, shape[-1])
        offset = normal((seed, 2), size) if bias else None
        exact = [None if array is None else torch.from_numpy(array).double() for array in (x, weight, offset)]
        output = torch.nn.functional.linear(*exact)
        title = f"linear {shape} to {size}{'' if bias else ', no bias'}"
        golden.add(title, {"x": x, "weight": weight, "bias": offset, "output": output.numpy()}, kind="linear")


def softmax():
    rows = {f"softmax {shape}": normal((300, *shape), *shape) * 3 for shape in [(7,), (3, 1), (2, 33), (2, 3, 64), (1, 2, 3, 130), (0, 4), (3, 0)]}
    hidden = normal(301, 4, 9)
    hidden[hidden < 0] = -np.inf
    rows["softmax with −∞"] = hidden
    rows["softmax of large numbers"] = normal(302, 3, 9) * 1e4
    rows["softmax of equal large numbers"] = np.full((2, 5), 3e38, np.float32)
    rows["softmax of tiny numbers"] = normal(303, 3, 9) * 1e-40
    for name, x in rows.items():
        x = x.astype(np.float32)
        golden.add(name, {"x": x, "output": torch.softmax(torch.from_numpy(x).double(), -1).numpy()}, kind="softmax")


if __name__ == "__main__":
    for part in (initial, multi_head, linear, softmax):
        part()
    golden.write()
