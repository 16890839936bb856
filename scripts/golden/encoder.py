"""Writes torch-encoder.safetensors: norms, activations, means over rows, and encoder layers.

References: PyTorch's functions, torch.nn.TransformerEncoderLayer, sentence-transformers' mean over tokens, and
transformers' BertLayer. Initial state dicts are PyTorch's own float32 numbers after torch.manual_seed; everything else
runs in float64.
"""

import copy

import numpy as np
import torch
import transformers
from torch.nn import functional
from transformers.models.bert.modeling_bert import BertConfig, BertLayer

from golden import Golden, normal

torch_version = torch.__version__.split("+")[0]
golden = Golden("torch-encoder", f"PyTorch {torch_version}, and BertLayer of transformers {transformers.__version__}")


def double(array):
    return None if array is None else torch.from_numpy(np.asarray(array)).double()


def norms():
    for index, (shape, weighted, biased, epsilon) in enumerate(
        [((3, 5), True, True, None), ((7,), False, False, None), ((2, 3, 33), True, False, 1e-12), ((1, 2, 384), True, True, 1e-3), ((4, 1), False, True, None), ((0, 5), True, True, None)]
    ):
        size = shape[-1]
        x = normal((400, index), *shape) * 3 + 1
        weight = normal((401, index), size) if weighted else None
        bias = normal((402, index), size) if biased else None
        options = {} if epsilon is None else {"epsilon": epsilon}
        eps = 1e-5 if epsilon is None else epsilon
        output = functional.layer_norm(double(x), (size,), double(weight), double(bias), eps)
        title = f"layer norm {shape}{', weight' if weighted else ''}{', bias' if biased else ''}, epsilon {eps}"
        golden.add(title, {"x": x, "weight": weight, "bias": bias, "output": output.numpy()}, kind="layerNorm", options=options)
        eps = torch.finfo(torch.float32).eps if epsilon is None else epsilon
        output = functional.rms_norm(double(x), (size,), double(weight), eps)
        title = f"rms norm {shape}{', weight' if weighted else ''}, epsilon {eps}"
        golden.add(title, {"x": x, "weight": weight, "output": output.numpy()}, kind="rmsNorm", options=options)
    far = (normal(403, 3, 64) + 5000).astype(np.float32)
    golden.add("layer norm far from 0", {"x": far, "output": functional.layer_norm(double(far), (64,)).numpy()}, kind="layerNorm", options={})
    same = np.full((2, 9), 7.25, np.float32)
    golden.add("layer norm of equal numbers", {"x": same, "output": functional.layer_norm(double(same), (9,)).numpy()}, kind="layerNorm", options={})


def activations():
    x = np.concatenate([np.linspace(-20, 20, 401), normal(410, 300), [1e-30, -1e-30, 0.0, 1e30, -1e30, np.inf, np.nan]]).astype(np.float32)
    for approximate in ("none", "tanh"):
        output = functional.gelu(double(x), approximate=approximate)
        golden.add(f"gelu, approximate {approximate}", {"x": x, "output": output.numpy()}, kind="gelu", options={"approximate": approximate})
    golden.add("gelu of a matrix", {"x": x[:15].reshape(3, 5), "output": functional.gelu(double(x[:15].reshape(3, 5))).numpy()}, kind="gelu", options={})
    golden.add("silu", {"x": x, "output": functional.silu(double(x)).numpy()}, kind="silu", options={})


def pools():
    """Like sentence-transformers' Pooling (mean) and Normalize."""
    for index, (shape, lengths, normalize) in enumerate([((2, 5, 7), None, False), ((3, 6, 33), [6, 1, 4], False), ((3, 6, 33), [6, 0, 4], True), ((1, 40, 100), [37], True), ((2, 0, 4), None, True)]):
        x = normal((420, index), *shape)
        mask = (torch.arange(shape[1])[None] < torch.tensor(lengths or [shape[1]] * shape[0])[:, None]).double()[..., None]
        output = (double(x) * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        if normalize:
            output = functional.normalize(output, p=2, dim=1)
        options = {"normalize": normalize} | ({} if lengths is None else {"lengths": lengths})
        golden.add(f"mean pool {shape}, lengths {lengths}{', normalised' if normalize else ''}", {"x": x, "output": output.numpy()}, kind="meanPool", options=options)


def layer(seed, model_dim, heads, inner=None, activation="relu", norm_first=False, epsilon=1e-5):
    torch.manual_seed(seed)
    more = {} if inner is None else {"dim_feedforward": inner}
    return torch.nn.TransformerEncoderLayer(model_dim, heads, activation=activation, norm_first=norm_first, layer_norm_eps=epsilon, batch_first=True, **more)


def config(seed, model_dim, heads, inner=None, activation="relu", norm_first=False, epsilon=1e-5):
    """The layer's configuration in this package's terms."""
    described = {"modelDim": model_dim, "numHeads": heads, "seed": seed}
    described |= {} if inner is None else {"feedForwardDim": inner}
    described |= {} if activation == "relu" else {"activation": activation}
    described |= {"normFirst": True} if norm_first else {}
    return described | ({} if epsilon == 1e-5 else {"epsilon": epsilon})


def state(module, prefix="state"):
    return {f"{prefix}.{name}": parameter.detach().numpy() for name, parameter in module.state_dict().items()}


def initial():
    for arguments in (dict(seed=0, model_dim=8, heads=2, inner=20), dict(seed=1234, model_dim=12, heads=3, inner=5), dict(seed=2**32 + 7, model_dim=2, heads=1)):
        module = layer(**arguments)
        title = "initial, " + ", ".join(f"{name} {value}" for name, value in arguments.items())
        golden.add(title, state(module), kind="initial", config=config(**arguments), order=list(module.state_dict()))


def randomised(module, seed):
    """Norms and biases that are neither ones nor zeros."""
    with torch.no_grad():
        for index, (name, parameter) in enumerate(module.named_parameters()):
            if parameter.dim() == 1:
                parameter.copy_(torch.from_numpy(normal((seed, 50 + index), *parameter.shape)))
    return module


def forward(name, arguments, batch=2, length=5, mask=None, causal=False, kv_lengths=None):
    seed = arguments["seed"]
    module = randomised(layer(**arguments), seed)
    x = normal((seed, 0), batch, length, arguments["model_dim"])
    hidden = None
    if mask is not None:
        # torch.nn.TransformerEncoderLayer hides keys where a boolean mask is True, like MultiheadAttention.
        hidden = ~torch.from_numpy(mask) if mask.dtype == np.bool_ else double(mask)
    elif causal:
        hidden = torch.ones(length, length, dtype=torch.bool).triu(1)
    padding = None
    if kv_lengths is not None:
        padding = torch.arange(length)[None] >= torch.tensor(kv_lengths)[:, None]
        if hidden is not None and hidden.dtype != torch.bool:
            padding = torch.zeros(padding.shape, dtype=torch.float64).masked_fill(padding, -torch.inf)
    exact = copy.deepcopy(module).double().eval()
    with torch.no_grad():
        # Without gradients, PyTorch may use its fused path, which omits padded rows.
        torch.backends.mha.set_fastpath_enabled(False)
        output = exact(double(x), src_mask=hidden, src_key_padding_mask=padding)
        before = exact.norm1(double(x)) if arguments.get("norm_first") else double(x)
        _, weights = exact.self_attn(before, before, before, attn_mask=hidden, key_padding_mask=padding, average_attn_weights=False)
    options = ({"causal": True} if causal else {}) | ({} if kv_lengths is None else {"kvLengths": kv_lengths})
    tensors = state(module) | {"x": x, "mask": mask, "output": output.numpy(), "weights": weights.numpy()}
    golden.add(name, tensors, kind="forward", config=config(**arguments), options=options)


def encoders():
    random = np.random.default_rng(6)
    for norm_first in (False, True):
        for activation in ("relu", "gelu"):
            title = f"norm {'first' if norm_first else 'after'}, {activation}"
            base = dict(model_dim=8, heads=2, inner=20, activation=activation, norm_first=norm_first)
            forward(title, dict(seed=1, **base))
            forward(f"{title}, causal", dict(seed=2, **base), causal=True)
            forward(f"{title}, padding", dict(seed=3, **base), kv_lengths=[5, 2])
            forward(f"{title}, boolean mask", dict(seed=4, **base), mask=random.random((5, 5)) < 0.7)
            forward(f"{title}, float mask and padding", dict(seed=5, **base), mask=random.standard_normal((5, 5)).astype(np.float32), kv_lengths=[3, 4])
    forward("PyTorch's own inner size", dict(seed=6, model_dim=2, heads=1), batch=1, length=3)
    forward("another epsilon", dict(seed=7, model_dim=12, heads=3, inner=7, epsilon=0.05))
    forward("one token", dict(seed=8, model_dim=8, heads=4, inner=16, activation="gelu"), batch=1, length=1)
    forward("many tokens", dict(seed=9, model_dim=16, heads=2, inner=24, activation="gelu", norm_first=True), batch=1, length=40)


def bert():
    """A BERT layer under transformers' names, and under the names of older checkpoints."""
    size, heads, inner, epsilon = 12, 3, 20, 1e-12
    described = BertConfig(hidden_size=size, num_attention_heads=heads, intermediate_size=inner, layer_norm_eps=epsilon, hidden_act="gelu", attn_implementation="eager")
    torch.manual_seed(11)
    module = randomised(BertLayer(described), 11).eval()
    x = normal((11, 0), 2, 6, size)
    lengths = [6, 4]
    padding = torch.zeros(2, 1, 1, 6, dtype=torch.float64).masked_fill((torch.arange(6)[None] >= torch.tensor(lengths)[:, None])[:, None, None], -torch.inf)
    with torch.no_grad():
        output = copy.deepcopy(module).double()(double(x), padding)
    output = output[0] if isinstance(output, tuple) else output
    shared = dict(kind="bert", config=config(0, size, heads, inner, "gelu", epsilon=epsilon), options={"kvLengths": lengths})
    tensors = {"x": x, "output": output.numpy()}
    golden.add("BERT layer", tensors | state(module, "state.encoder.layer.3"), **shared)
    older = {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor for name, tensor in state(module, "state.encoder.layer.3").items()}
    golden.add("BERT layer, norms with gamma and beta", tensors | older, **shared)


if __name__ == "__main__":
    for part in (norms, activations, pools, initial, encoders, bert):
        part()
    golden.write()
