"""Writes training.safetensors: gradients of PyTorch's autograd, losses, schedules, and the curves of optimizers.

Modules run in float64 on float32 inputs; optimizers run in float32.
"""

import math

import torch
import transformers
from torch import nn
from torch.nn import functional as F
from transformers.models.deepseek_v3 import modeling_deepseek_v3 as deepseek
from transformers.models.gemma2 import modeling_gemma2 as gemma2
from transformers.models.olmo2 import modeling_olmo2 as olmo2
from transformers.models.qwen3 import modeling_qwen3 as qwen3

from golden import Golden, normal

golden = Golden("training", f"PyTorch {torch.__version__.split('+')[0]} and transformers {transformers.__version__}")

LENGTH = 6


def double(array):
    return torch.from_numpy(array).double().requires_grad_()


def gradients(name, output, inputs, parameters=(), seed=0, **description):
    """Adds a case with the gradients of the sum of the output times random numbers."""
    gradient = normal((900, seed), *output.shape)
    named = {f"in.{key}": value for key, value in inputs.items()} | {f"state.{key}": value for key, value in parameters}
    leaves = {key: value for key, value in named.items() if value.requires_grad}
    found = torch.autograd.grad(output, list(leaves.values()), torch.from_numpy(gradient).double())
    tensors = {key: value.detach().numpy() for key, value in named.items()}
    tensors |= {f"grad.{key}": value.numpy() for key, value in zip(leaves, found)}
    golden.add(name, tensors | {"output": output.detach().numpy(), "gradient": gradient}, kind="gradient", **description)


def attention(q, k, v, causal=False, offset=0, window=(-1, -1), scale=None, softcap=0, mask=None, lengths=None, sinks=None, bias=None):
    """The definition in docs: scores, cap, biases, visible keys, softmax with sinks, sum."""
    heads, (length, keys) = q.shape[1], (q.shape[2], k.shape[2])
    k, v = (x.repeat_interleave(heads // x.shape[1], 1) for x in (k, v))
    scores = q @ k.mT * (scale or q.shape[-1] ** -0.5)
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    i, j = torch.arange(length)[:, None] + offset, torch.arange(keys)[None]
    if bias is not None:
        scores = scores + bias[:, j - torch.arange(length)[:, None] + length - 1]
    visible = torch.ones(length, keys, dtype=torch.bool)
    if causal:
        visible = visible & (j <= i)
    visible = visible & ((j >= i - window[0]) | (window[0] < 0)) & ((j <= i + window[1]) | (window[1] < 0))
    if lengths is not None:
        visible = visible & (j < torch.tensor(lengths)[:, None, None, None])
    if mask is not None and mask.dtype == torch.bool:
        visible = visible & mask
    elif mask is not None:
        scores = scores + mask
    scores = scores.masked_fill(~visible, -1e30)
    if sinks is not None:
        scores = torch.cat([scores, sinks[None, :, None, None].expand(*scores.shape[:3], 1)], -1)
    weights = scores.softmax(-1)[..., :keys].masked_fill(~visible, 0)
    return weights @ v


def functions_of_attention():
    sizes = dict(heads=4, groups=2, keys=7, size=8, values=5)
    cases = {
        "plain": ({}, {}),
        "causal with an offset": (dict(causal=True, offset=-2), {}),
        "window": (dict(causal=True, offset=1, window=(2, 0)), {}),
        "softcap and scale": (dict(softcap=1.5, scale=0.7), {}),
        "lengths": (dict(lengths=[3, 0]), {}),
        "float mask": ({}, {"mask": (2, 1, LENGTH, 7)}),
        "boolean mask": ({}, {"flags": (LENGTH, 7)}),
        "sinks": ({}, {"sinks": (4,)}),
        "relative bias": (dict(causal=True), {"bias": (4, LENGTH + 6)}),
        "one relative bias": ({}, {"bias": (1, LENGTH + 6)}),
    }
    names = {"bias": "relativeBias", "flags": "mask", "offset": "queryOffset", "lengths": "kvLengths"}
    for seed, (name, (options, shapes)) in enumerate(cases.items()):
        q = double(normal((seed, 0), 2, sizes["heads"], LENGTH, sizes["size"]))
        k = double(normal((seed, 1), 2, sizes["groups"], sizes["keys"], sizes["size"]))
        v = double(normal((seed, 2), 2, sizes["groups"], sizes["keys"], sizes["values"]))
        arrays = {key: double(normal((seed, 3), *shape)) for key, shape in shapes.items()}
        if "flags" in arrays:
            arrays = {"mask": arrays["flags"].detach() > -0.3}
        inputs = {"q": q, "k": k, "v": v} | {names.get(key, key): value for key, value in arrays.items()}
        given = {names.get(key, key): value for key, value in options.items()}
        output = attention(q, k, v, **options, **arrays)
        gradients(f"attention: {name}", output, inputs, seed=seed, target="scaledDotProductAttention", options=given)


def functions():
    """Functions of one tensor, and of tensors that broadcast."""
    x, weight, bias = (double(normal((50, at), *shape)) for at, shape in enumerate([(3, 5), (5,), (5,)]))
    activations = {
        "relu": F.relu, "gelu": F.gelu, "silu": F.silu, "elu": F.elu, "tanh": torch.tanh, "sigmoid": torch.sigmoid,
        "softmax": lambda x: x.softmax(-1),
    }
    for name, function in activations.items():
        gradients(name, function(x), {"x": x}, target=name)
    gradients("gelu by tanh", F.gelu(x, approximate="tanh"), {"x": x}, target="gelu", options={"approximate": "tanh"})
    gradients("layerNorm", F.layer_norm(x, (5,), weight, bias), {"x": x, "weight": weight, "bias": bias}, target="layerNorm")
    gradients("rmsNorm", F.rms_norm(x, (5,), weight, 1e-5), {"x": x, "weight": weight}, target="rmsNorm", options={"epsilon": 1e-5})
    a, b = double(normal(51, 2, 1, 4)), double(normal(52, 3, 1))
    gradients("add", a + b, {"a": a, "b": b}, target="add")
    gradients("multiply", a * b, {"a": a, "b": b}, target="multiply")
    matrix, offset = double(normal(53, 4, 5)), double(normal(54, 4))
    gradients("linear", F.linear(x, matrix, offset), {"x": x, "weight": matrix, "bias": offset}, target="linear")


def randomize(module, seed):
    """Replaces every parameter by random values whose scale keeps the magnitude of rows."""
    with torch.no_grad():
        for index, parameter in enumerate(module.parameters()):
            values = torch.from_numpy(normal((seed, 100 + index), *parameter.shape))
            parameter.copy_(values / (parameter.shape[-1] ** 0.5 if parameter.dim() > 1 else 2))
    return module.eval().double()


def modules():
    """PyTorch's layers."""
    sizes = {"modelDim": 16, "numHeads": 4, "feedForwardDim": 12, "activation": "gelu"}
    q, k, v = (double(normal((60, at), 2, length, 16)) for at, length in enumerate([LENGTH, 5, 5]))
    module = randomize(nn.MultiheadAttention(16, 4, batch_first=True), 60)
    hidden = torch.arange(5) >= torch.tensor([5, 3])[:, None]
    output = module(q, k, v, key_padding_mask=hidden)[0]
    config, options = {"modelDim": 16, "numHeads": 4}, {"kvLengths": [5, 3]}
    gradients("MultiheadAttention", output, {"q": q, "k": k, "v": v}, module.named_parameters(), layer="MultiHeadAttention", config=config, options=options)
    module = randomize(nn.MultiheadAttention(16, 4, batch_first=True, add_bias_kv=True, add_zero_attn=True), 61)
    later = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
    config = config | {"addBiasKv": True, "addZeroAttn": True, "causal": True}
    gradients("MultiheadAttention with added keys", module(q, q, q, attn_mask=later)[0], {"x": q}, module.named_parameters(), layer="SelfAttention", config=config)
    for norm_first in (False, True):
        name = "norm first" if norm_first else "norm after"
        arguments = dict(activation="gelu", norm_first=norm_first, batch_first=True)
        config = sizes | {"normFirst": norm_first, "dropout": 0}
        module = randomize(nn.TransformerEncoderLayer(16, 4, 12, **arguments), 62)
        gradients(f"TransformerEncoderLayer, {name}", module(q), {"x": q}, module.named_parameters(), layer="TransformerEncoderLayer", config=config)
        module = randomize(nn.TransformerDecoderLayer(16, 4, 12, **arguments), 63)
        mask = nn.Transformer.generate_square_subsequent_mask(LENGTH, dtype=torch.float64)
        output = module(q, k, tgt_mask=mask)
        gradients(f"TransformerDecoderLayer, {name}", output, {"x": q, "context": k}, module.named_parameters(), layer="TransformerDecoderLayer", config=config)


def blocks():
    """Layers of transformers with rotary positions, causal."""
    shared = dict(hidden_size=16, num_attention_heads=4, intermediate_size=12, num_hidden_layers=1, attn_implementation="eager")
    sizes = shared | dict(num_key_value_heads=2, head_dim=4)
    mask = torch.zeros(LENGTH, LENGTH, dtype=torch.float64).masked_fill(torch.ones(LENGTH, LENGTH).triu(1) > 0, -torch.inf)[None, None]
    config = {"modelDim": 16, "numHeads": 4, "kvHeads": 2, "headDim": 4, "feedForwardDim": 12}
    families = [
        (qwen3.Qwen3DecoderLayer, qwen3.Qwen3Config(**sizes), {"attention": {"rotary": {}, "qkNorm": "head"}}),
        (
            gemma2.Gemma2DecoderLayer,
            gemma2.Gemma2Config(**sizes, query_pre_attn_scalar=5, attn_logit_softcapping=2.0),
            {"activation": "gelu-tanh", "normPlacement": "sandwich", "weightOffset": 1, "attention": {"rotary": {}, "scale": 5**-0.5, "softcap": 2}},
        ),
        (
            olmo2.Olmo2DecoderLayer,
            olmo2.Olmo2Config(**sizes, rms_norm_eps=1e-6),
            {"normPlacement": "post", "attention": {"rotary": {}, "qkNorm": {"over": "model"}}},
        ),
    ]
    embeddings = qwen3.Qwen3RotaryEmbedding(qwen3.Qwen3Config(**sizes))(torch.zeros(1, dtype=torch.float64), torch.arange(LENGTH)[None])
    for seed, (module, reference, own) in enumerate(families):
        layer = randomize(module(reference, 0), 70 + seed)
        x = double(normal((70, seed), 2, LENGTH, 16))
        output = layer(x, position_embeddings=embeddings, attention_mask=mask)
        output = output if torch.is_tensor(output) else output[0]
        gradients(module.__name__, output, {"x": x}, layer.named_parameters(), seed=seed, layer="DecoderLayer", config=config | own)
    latent = dict(q_lora_rank=6, kv_lora_rank=5, qk_nope_head_dim=6, qk_rope_head_dim=4, v_head_dim=3)
    reference = deepseek.DeepseekV3Config(**shared, num_key_value_heads=4, **latent)
    layer = randomize(deepseek.DeepseekV3Attention(reference, 0), 75)
    embeddings = deepseek.DeepseekV3RotaryEmbedding(reference)(torch.zeros(1, dtype=torch.float64), torch.arange(LENGTH)[None])
    x = double(normal(75, 2, LENGTH, 16))
    output = layer(x, position_embeddings=embeddings, attention_mask=mask)[0]
    config = {"modelDim": 16, "numHeads": 4, "queryRank": 6, "latentRank": 5, "nopeDim": 6, "rotaryDim": 4, "valueDim": 3}
    config |= {"causal": True, "rotary": {"interleaved": True}}
    gradients("DeepseekV3Attention", output, {"x": x}, layer.named_parameters(), layer="LatentAttention", config=config)


def losses():
    x, y = double(normal(80, 5, 4)), double(normal(81, 5, 4))
    targets, signs, weights = torch.tensor([1, 0, 3, -100, 2]), torch.tensor([1, -1, 1, 1, -1]), torch.tensor([0.5, 1.0, 2.0, 0.25])

    def loss(name, value, leaves, arguments, **description):
        found = torch.autograd.grad(value, leaves)
        tensors = {f"grad.{at}": part.numpy() for at, part in enumerate(found)}
        tensors |= {f"in.{at}": leaf.detach().numpy() for at, leaf in enumerate(leaves)}
        golden.add(name, tensors, kind="loss", value=value.item(), arguments=arguments, **description)

    loss("crossEntropy", F.cross_entropy(x, targets), [x], [targets.tolist()])
    for smoothing in (0, 0.2):
        value = F.cross_entropy(x, targets, weights.double(), label_smoothing=smoothing)
        loss(f"crossEntropy, weighted, smoothing {smoothing}", value, [x], [targets.tolist()], options={"labelSmoothing": smoothing}, weights=weights.tolist())
    loss("meanSquaredError", F.mse_loss(x, y), [x], [], target=y.detach().tolist())
    loss("cosineLoss", F.cosine_embedding_loss(x, y, signs), [x, y], [signs.tolist()])
    scores = F.normalize(x, dim=-1) @ F.normalize(y, dim=-1).mT / 0.1
    loss("infoNce", F.cross_entropy(scores, torch.arange(5)), [x, y], [], options={"temperature": 0.1})


def schedules():
    steps, warmup = 12, 3
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 1.0)
    for name, make in {
        "constantSchedule": lambda: transformers.get_constant_schedule_with_warmup(optimizer, warmup),
        "linearSchedule": lambda: transformers.get_linear_schedule_with_warmup(optimizer, warmup, steps),
        "cosineSchedule": lambda: transformers.get_cosine_schedule_with_warmup(optimizer, warmup, steps),
    }.items():
        factors = [make().lr_lambdas[0](step) for step in range(steps + 1)]
        golden.add(name, {}, kind="schedule", factors=factors, options={"warmup": warmup} | ({} if name[0:4] == "cons" else {"steps": steps}))


def optimizers():
    """Single parameters by fixed gradients, and a small encoder's loss over 50 steps."""
    settings = {
        "AdamW": (torch.optim.AdamW, {}, {}),
        "AdamW with options": (
            torch.optim.AdamW,
            dict(lr=0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1),
            {"learningRate": 0.02, "betas": [0.8, 0.95], "epsilon": 1e-6, "weightDecay": 0.1},
        ),
        "SGD": (torch.optim.SGD, {}, {}),
        "SGD with momentum": (
            torch.optim.SGD,
            dict(lr=0.05, momentum=0.9, weight_decay=0.02),
            {"learningRate": 0.05, "momentum": 0.9, "weightDecay": 0.02},
        ),
        "SGD with Nesterov's momentum": (
            torch.optim.SGD,
            dict(lr=0.05, momentum=0.7, nesterov=True),
            {"learningRate": 0.05, "momentum": 0.7, "nesterov": True},
        ),
    }
    for seed, (name, (optimizer, arguments, options)) in enumerate(settings.items()):
        weight = nn.Parameter(torch.from_numpy(normal((90, seed), 4, 3)))
        tensors = {"start": weight.detach().numpy().copy(), "gradients": normal((91, seed), 6, 4, 3)}
        made = optimizer([weight], **arguments)
        for step, gradient in enumerate(tensors["gradients"]):
            weight.grad = torch.from_numpy(gradient.copy())
            made.step()
            tensors[f"step.{step}"] = weight.detach().numpy().copy()
        golden.add(name, tensors, kind="optimizer", options=options)

    encoder = randomize(nn.TransformerEncoderLayer(16, 4, 24, dropout=0, activation="gelu", batch_first=True), 92).float()
    head = randomize(nn.Linear(16, 3), 93).float()
    x, targets = torch.from_numpy(normal(94, 8, 5, 16)), torch.arange(8) % 3
    tensors = {"x": x.numpy()}
    for prefix, module in (("encoder", encoder), ("head", head)):
        tensors |= {f"{prefix}.{key}": value.numpy().copy() for key, value in module.state_dict().items()}
    parameters = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=0.003, weight_decay=0.05)
    curve = []
    for step in range(50):
        optimizer.param_groups[0]["lr"] = 0.003 * (1 + math.cos(math.pi * step / 50)) / 2
        loss = F.cross_entropy(head(encoder(x).mean(1)), targets)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        curve.append(loss.item())
    golden.add("curve", tensors, kind="curve", curve=curve, targets=targets.tolist())


functions_of_attention()
functions()
modules()
blocks()
losses()
schedules()
optimizers()
golden.write()
