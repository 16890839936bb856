"""Writes __test__/golden/families.safetensors: attention modules and blocks of small models with random parameters.

Each family is a model of `transformers` (or a block of timm, diffusers or torch) whose parameters are drawn anew, since
initial ones hide mistakes: norms at one, biases at zero. A case is a module: its input and output within one forward
pass of the model, and the configuration with which this package must give the same output. The first case of a family
holds the model's config.json. Weights are stored once per
family, under the names that `save_pretrained` writes.
"""

import json
import tempfile
from pathlib import Path

import diffusers
import timm
import torch
import transformers
from diffusers.models.attention import BasicTransformerBlock
from safetensors.torch import load_file
from timm.models.vision_transformer import Block
from transformers import CONFIG_MAPPING, AutoModel

from golden import Golden

M, H, D, F, T, B = 24, 4, 6, 40, 6, 2  # model, heads, head, feed-forward, tokens, batch
HEADS = {"modelDim": M, "numHeads": H}
BLOCK = {**HEADS, "feedForwardDim": F}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
TEXT = {
    "hidden_size": M, "num_hidden_layers": 2, "num_attention_heads": H, "intermediate_size": F, "vocab_size": 11,
    "max_position_embeddings": 32,
}
IMAGE = {
    "hidden_size": M, "num_hidden_layers": 2, "num_attention_heads": H, "intermediate_size": F, "image_size": 8,
    "patch_size": 4,
}
DECODER = {**TEXT, **SPECIAL, "num_key_value_heads": 2}
WIDE = {**DECODER, "head_dim": 8}

transformers.logging.disable_progress_bar()
golden = Golden(
    "families",
    f"transformers {transformers.__version__}, timm {timm.__version__}, diffusers {diffusers.__version__}, "
    f"torch {torch.__version__.split('+')[0]}",
)


class Recorder:
    """Runs a model once and keeps the input and output of each module."""

    def __init__(self, model, **inputs):
        self.inputs, self.outputs, self.contexts = {}, {}, {}
        hooks = [
            module.register_forward_hook(self.hook(path), with_kwargs=True) for path, module in model.named_modules()
        ]
        with torch.no_grad():
            model.eval()(**inputs)
        for hook in hooks:
            hook.remove()

    def hook(self, path):
        def keep(_, args, kwargs, output):
            if path in self.inputs:
                return
            self.inputs[path] = args[0] if args else kwargs.get("hidden_states")
            context = kwargs.get("key_value_states", kwargs.get("encoder_hidden_states"))
            self.contexts[path] = context
            self.outputs[path] = output[0] if isinstance(output, tuple) else output

        return keep


def randomize(model, seed):
    """Draws every parameter: matrices such that outputs are of the size of inputs, vectors around their initial value."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        with torch.no_grad():
            if parameter.dim() <= 1:
                parameter.add_(noise * 0.3)
            else:
                parameter.copy_(noise / parameter.shape[-1] ** 0.5)


class Family:
    """One model, run once; `case` adds its modules to the golden file."""

    def __init__(self, name, model, seed, **inputs):
        self.name = name
        randomize(model, seed)
        self.run = Recorder(model, **inputs)
        if isinstance(model, transformers.PreTrainedModel):
            with tempfile.TemporaryDirectory() as folder:
                model.save_pretrained(folder)
                self.state = load_file(Path(folder) / "model.safetensors")
                self.model = json.loads((Path(folder) / "config.json").read_text())
        else:
            self.state = {key: value.clone() for key, value in model.state_dict().items()}
            self.model = None
        self.config = getattr(model, "config", None)
        self.stored = set()

    def case(self, layer, config, path, *, prefix=None, end=None, options=None, extra=(), context=None):
        """Adds the module at `path` (its output is that of `end`), whose weights are under `prefix`."""
        prefix = path if prefix is None else prefix
        tensors = {"x": self.run.inputs[path], "output": self.run.outputs[end or path]}
        context = self.run.contexts[context or path] if "Cross" in layer or "Decoder" in layer and context else None
        tensors["context"] = context
        start = f"{prefix}." if prefix else ""
        for key, value in self.state.items():
            if key.startswith(start) or key in extra:
                tensors[f"weights/{key}"] = value if key not in self.stored else None
                self.stored.add(key)
        golden.add(
            f"{self.name}/{path}", {key: value for key, value in tensors.items()}, family=self.name, layer=layer,
            config=config, prefix=prefix, **({"options": options} if options else {}),
            **({"model": self.model} if self.model else {}),
        )
        self.model = None


def text(name, seed, config, **inputs):
    """A model of `transformers` on random tokens."""
    model = AutoModel.from_config(config_of(name, config))
    ids = torch.randint(3, 11, (B, T), generator=torch.Generator().manual_seed(seed))
    return Family(name, model, seed, input_ids=ids, **inputs)


def config_of(name, config):
    made = CONFIG_MAPPING[name](**config)
    made._attn_implementation = "eager"
    return made


def tokens(seed):
    return torch.randint(3, 11, (B, T), generator=torch.Generator().manual_seed(seed))


def normal(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def encoders():
    bert_block = {**BLOCK, "activation": "gelu", "epsilon": 1e-12}
    for seed, name in enumerate(["bert", "roberta", "electra"]):
        extra = {"embedding_size": M} if name == "electra" else {}
        family = text(name, seed, {**TEXT, **extra})
        layer = "encoder.layer.0"
        family.case(
            "SelfAttention", HEADS, f"{layer}.attention.self", end=f"{layer}.attention.output.dense",
            prefix=f"{layer}.attention",
        )
        epsilon = family.config.layer_norm_eps
        family.case("TransformerEncoderLayer", {**bert_block, "epsilon": epsilon}, layer)

    distil = text("distilbert", 3, {
        "dim": M, "n_layers": 2, "n_heads": H, "hidden_dim": F, "vocab_size": 11, "max_position_embeddings": 32,
    })
    distil.case("SelfAttention", HEADS, "transformer.layer.0.attention")
    distil.case("TransformerEncoderLayer", bert_block, "transformer.layer.0")

    table = "encoder.relative_attention_bias.weight"
    bias = {"relativePositionBias": {"table": table, "bidirectional": True, "maxDistance": 128}}
    mpnet = text("mpnet", 4, TEXT)
    mpnet.case("SelfAttention", HEADS, "encoder.layer.0.attention.attn", options=bias, extra=(table,))
    mpnet.case(
        "TransformerEncoderLayer", {**bert_block, "epsilon": mpnet.config.layer_norm_eps}, "encoder.layer.0",
        options=bias,
    )

    albert = text("albert", 5, {**TEXT, "embedding_size": M})
    layer = "encoder.albert_layer_groups.0.albert_layers.0"
    albert.case("SelfAttention", HEADS, f"{layer}.attention", end=f"{layer}.attention.dense")
    albert.case("TransformerEncoderLayer", {**bert_block, "activation": "gelu-tanh"}, layer)

    modern = text("modernbert", 6, {
        **TEXT, **SPECIAL, "cls_token_id": 1, "sep_token_id": 2, "global_attn_every_n_layers": 3, "local_attention": 4,
    })
    for index, kind in enumerate(modern.config.layer_types):
        window = {"window": [2, 2]} if kind == "sliding_attention" else {}
        attention = {"rotary": {"scaling": modern.config.rope_parameters[kind]}, **window}
        modern.case("SelfAttention", {**HEADS, "useBias": False, **attention}, f"layers.{index}.attn")
        modern.case("TransformerEncoderLayer", {
            **BLOCK, "activation": "gelu", "gated": True, "normFirst": True, "useBias": False, "attention": attention,
            **({"attentionNorm": False} if index == 0 else {}),
        }, f"layers.{index}")

    nomic = text("nomic_bert", 7, TEXT)
    attention = {"rotary": {"scaling": nomic.config.rope_parameters}}
    nomic.case(
        "SelfAttention", {**HEADS, "useBias": False, **attention}, "layers.0.self_attn", prefix="encoder.layers.0.attn"
    )
    nomic.case("TransformerEncoderLayer", {
        **BLOCK, "activation": "silu", "gated": True, "epsilon": nomic.config.layer_norm_eps, "attention": attention,
    }, "layers.0", prefix="encoder.layers.0")


def vision():
    block = {**BLOCK, "activation": "gelu", "normFirst": True, "epsilon": 1e-12}
    pixels = normal(10, B, 3, 8, 8)
    for seed, name in enumerate(["vit", "deit"], 10):
        family = Family(name, AutoModel.from_config(config_of(name, IMAGE)), seed, pixel_values=pixels)
        family.case("SelfAttention", HEADS, "layers.0.attention", prefix="encoder.layer.0.attention")
        family.case("TransformerEncoderLayer", block, "layers.0", prefix="encoder.layer.0")

    dino = Family("dinov2", AutoModel.from_config(config_of("dinov2", {**IMAGE, "mlp_ratio": 2})), 12, pixel_values=pixels)
    path = "encoder.layer.0" if "encoder.layer.0" in dino.run.inputs else "layers.0"
    dino.case("SelfAttention", HEADS, f"{path}.attention", prefix="encoder.layer.0.attention")
    dino.case(
        "TransformerEncoderLayer", {**block, "feedForwardDim": 2 * M, "epsilon": 1e-6}, path, prefix="encoder.layer.0"
    )

    for seed, (name, activation) in enumerate([("clip", "quick-gelu"), ("siglip", "gelu-tanh")], 13):
        shared = {"projection_dim": 8} if name == "clip" else {}
        special = {**SPECIAL} if name == "clip" else {}
        config = config_of(name, {
            "text_config": {**TEXT, **shared, **special}, "vision_config": {**IMAGE, **shared}, **shared,
        })
        family = Family(name, AutoModel.from_config(config), seed, input_ids=tokens(seed), pixel_values=pixels)
        for part in ["text_model", "vision_model"]:
            causal = {"causal": True} if (name, part) == ("clip", "text_model") else {}
            attention = {"attention": causal} if causal else {}
            layer = f"{part}.encoder.layers.0"
            epsilon = (config.text_config if part == "text_model" else config.vision_config).layer_norm_eps
            family.case("SelfAttention", {**HEADS, **causal}, f"{layer}.self_attn")
            family.case(
                "TransformerEncoderLayer", {**block, "activation": activation, "epsilon": epsilon, **attention}, layer
            )

    model = torch.nn.Sequential(Block(M, H, mlp_ratio=F / M, qkv_bias=True, init_values=1.0, qk_norm=False))
    family = Family("timm", model, 15, input=normal(15, B, T, M))
    family.case("SelfAttention", HEADS, "0.attn")
    family.case("TransformerEncoderLayer", {**block, "epsilon": 1e-6 if model[0].norm1.eps == 1e-6 else 1e-5}, "0")


def speech():
    whisper = config_of("whisper", {
        "d_model": M, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": H,
        "decoder_attention_heads": H, "encoder_ffn_dim": F, "decoder_ffn_dim": F, "vocab_size": 11, "num_mel_bins": 4,
        "max_source_positions": 5, **SPECIAL, "decoder_start_token_id": 1,
    })
    family = Family(
        "whisper", AutoModel.from_config(whisper), 20, input_features=normal(20, B, 4, 10), decoder_input_ids=tokens(20)
    )
    encoder_decoder(family, {**BLOCK, "activation": "gelu", "normFirst": True})

    wave = config_of("wav2vec2", {
        "hidden_size": M, "num_hidden_layers": 1, "num_attention_heads": H, "intermediate_size": F, "vocab_size": 11,
        "conv_dim": (8,), "conv_stride": (2,), "conv_kernel": (3,), "num_conv_pos_embeddings": 4,
        "num_conv_pos_embedding_groups": 2,
    })
    family = Family("wav2vec2", AutoModel.from_config(wave), 21, input_values=normal(21, B, 13))
    family.case("SelfAttention", HEADS, "encoder.layers.0.attention")
    family.case("TransformerEncoderLayer", {**BLOCK, "activation": "gelu"}, "encoder.layers.0")


def encoder_decoder(family, block):
    """The layers of Whisper and BART."""
    family.case("SelfAttention", HEADS, "encoder.layers.0.self_attn")
    family.case("TransformerEncoderLayer", block, "encoder.layers.0")
    family.case("SelfAttention", HEADS, "decoder.layers.0.self_attn", options={"causal": True})
    family.case("CrossAttention", HEADS, "decoder.layers.0.encoder_attn")
    family.case(
        "TransformerDecoderLayer", block, "decoder.layers.0", context="decoder.layers.0.encoder_attn"
    )


def encoder_decoders():
    bart = config_of("bart", {
        "d_model": M, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": H,
        "decoder_attention_heads": H, "encoder_ffn_dim": F, "decoder_ffn_dim": F, "vocab_size": 11,
        "max_position_embeddings": 32, **SPECIAL, "decoder_start_token_id": 1, "forced_eos_token_id": 2,
    })
    family = Family("bart", AutoModel.from_config(bart), 30, input_ids=tokens(30), decoder_input_ids=tokens(31))
    encoder_decoder(family, {**BLOCK, "activation": "gelu"})

    for seed, (name, feed_forward, block) in enumerate([
        ("t5", "relu", {"activation": "relu"}),
        ("t5_gated", "gated-gelu", {"activation": "gelu-tanh", "gated": True}),
    ], 32):
        t5 = config_of("t5", {
            "d_model": M, "d_kv": 8, "d_ff": F, "num_layers": 2, "num_heads": H, "vocab_size": 11,
            "feed_forward_proj": feed_forward, "relative_attention_num_buckets": 8, "relative_attention_max_distance": 6,
        })
        family = Family(name, AutoModel.from_config(t5), seed, input_ids=tokens(seed), decoder_input_ids=tokens(seed + 10))
        t5_layers(family, {**BLOCK, "useBias": False, "norm": "rms", "normFirst": True, "epsilon": 1e-6, **block})


def t5_layers(family, block):
    """Block 0 has a table of relative positions, which block 1 borrows."""
    plain = {"headDim": 8, "scale": 1}
    both, causal = ({"buckets": 8, "maxDistance": 6, "bidirectional": way} for way in [True, False])
    part = "encoder.block.0.layer.0.SelfAttention"
    family.case("SelfAttention", {**HEADS, **plain, "useBias": False, "relativeBias": both}, part)
    family.case("TransformerEncoderLayer", {**block, "attention": {**plain, "relativeBias": both}}, "encoder.block.0")
    table = f"{part}.relative_attention_bias.weight"
    options = {"relativePositionBias": {"table": table, "bidirectional": True, "maxDistance": 6}}
    family.case("TransformerEncoderLayer", {**block, "attention": plain}, "encoder.block.1", options=options)
    part = "decoder.block.0.layer"
    family.case(
        "SelfAttention", {**HEADS, **plain, "useBias": False, "relativeBias": causal}, f"{part}.0.SelfAttention",
        options={"causal": True},
    )
    family.case("CrossAttention", {**HEADS, **plain, "useBias": False}, f"{part}.1.EncDecAttention")
    family.case(
        "TransformerDecoderLayer",
        {**block, "attention": {**plain, "relativeBias": causal}, "crossAttention": plain}, "decoder.block.0",
        context=f"{part}.1.EncDecAttention",
    )


def decoder(family, index, block, attention, *, module="self_attn", layers="layers", bias=False, options=None, alone=None):
    """The attention and the block at `index`; `attention` says what both have in common."""
    path = f"{layers}.{index}"
    family.case(
        "SelfAttention", {**HEADS, "useBias": bias, "causal": True, **attention, **(alone or {})}, f"{path}.{module}",
        options=options,
    )
    if block is not None:
        family.case("DecoderLayer", {**BLOCK, **block, "attention": attention}, path, options=options)


def scaled(rope_parameters, **others):
    return {"rotary": {"scaling": rope_parameters, **others}}


def decoders():
    rms = {"norm": "rms", "epsilon": 1e-6, "activation": "silu", "gated": True}
    layered = {"norm": "layer", "epsilon": 1e-5, "gated": False, "useBias": True}

    gpt2 = text("gpt2", 40, {
        "n_embd": M, "n_layer": 1, "n_head": H, "n_inner": F, "vocab_size": 11, "n_positions": 32, "bos_token_id": 1,
        "eos_token_id": 2,
    })
    decoder(gpt2, 0, {**layered, "activation": "gelu-tanh"}, {}, module="attn", layers="h", bias=True)

    neox = text("gpt_neox", 41, {**TEXT, "rotary_pct": 0.34, "bos_token_id": 1, "eos_token_id": 2})
    attention = {"rotary": {"scaling": neox.config.rope_parameters}}
    decoder(
        neox, 0, {**layered, "activation": "gelu", "parallel": True}, attention, module="attention", bias=True
    )

    bloom = text("bloom", 42, {"hidden_size": M, "n_layer": 1, "n_head": H, "vocab_size": 11, **SPECIAL})
    bloom.case(
        "SelfAttention", {**HEADS, "causal": True}, "h.0.self_attention", end="h.0.self_attention.dense",
        options={"alibi": True},
    )
    bloom.case(
        "DecoderLayer", {**BLOCK, **layered, "feedForwardDim": 4 * M, "activation": "gelu-tanh", "attention": {}}, "h.0",
        options={"alibi": True},
    )

    llama = text("llama", 43, {**WIDE, "rope_parameters": {
        "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    }})
    attention = {"kvHeads": 2, "headDim": 8}
    decoder(llama, 0, rms, {**attention, **scaled(llama.config.rope_parameters)})

    mistral = text("mistral", 44, {**WIDE, "sliding_window": 3})
    decoder(mistral, 0, rms, {**attention, **scaled(mistral.config.rope_parameters), "window": [2, 0]})

    qwen2 = text("qwen2", 45, DECODER)
    decoder(qwen2, 0, rms, {
        "kvHeads": 2, "useBias": {"query": True, "key": True, "value": True, "output": False},
        **scaled(qwen2.config.rope_parameters),
    })

    qwen3 = text("qwen3", 46, WIDE)
    decoder(qwen3, 0, rms, {**attention, "qkNorm": "head", **scaled(qwen3.config.rope_parameters)})

    sandwich = {**rms, "activation": "gelu-tanh", "weightOffset": 1, "normPlacement": "sandwich"}
    gemma2 = text("gemma2", 47, {
        **WIDE, "sliding_window": 3, "query_pre_attn_scalar": 20, "attn_logit_softcapping": 2.0,
    })
    shared = {**attention, "scale": 20**-0.5, "softcap": 2, **scaled(gemma2.config.rope_parameters)}
    for index, kind in enumerate(gemma2.config.layer_types):
        decoder(gemma2, index, sandwich, {**shared, **({"window": [2, 0]} if kind == "sliding_attention" else {})})

    gemma3 = text("gemma3_text", 48, {
        **WIDE, "sliding_window": 3, "query_pre_attn_scalar": 20, "layer_types": ["sliding_attention", "full_attention"],
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
        },
    })
    norm = {"qkNorm": {"over": "head", "epsilon": 1e-6, "weightOffset": 1}}
    for index, kind in enumerate(gemma3.config.layer_types):
        window = {"window": [2, 0]} if kind == "sliding_attention" else {}
        rotary = scaled(gemma3.config.rope_parameters[kind])
        decoder(gemma3, index, sandwich, {**attention, "scale": 20**-0.5, **norm, **window, **rotary})

    phi3 = text("phi3", 49, {**DECODER, "original_max_position_embeddings": 4, "rope_parameters": {
        "rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0, 1.1, 1.3],
        "long_factor": [1.2, 2.0, 4.0], "original_max_position_embeddings": 4,
    }})
    decoder(phi3, 0, {**rms, "epsilon": 1e-5}, {
        "kvHeads": 2, **scaled(phi3.config.rope_parameters, maxPositions=32, originalMaxPositions=4),
    })

    olmo2 = text("olmo2", 50, DECODER)
    decoder(olmo2, 0, {**rms, "epsilon": 1e-5, "normPlacement": "post"}, {
        "kvHeads": 2, "qkNorm": {"over": "model", "epsilon": 1e-5}, **scaled(olmo2.config.rope_parameters),
    })

    smollm3 = text("smollm3", 51, {**DECODER, "no_rope_layers": [1, 0]})
    decoder(smollm3, 0, rms, {"kvHeads": 2, **scaled(smollm3.config.rope_parameters)})
    decoder(smollm3, 1, rms, {"kvHeads": 2})

    starcoder2 = text("starcoder2", 52, {**DECODER, "sliding_window": 3})
    decoder(starcoder2, 0, {**layered, "activation": "gelu-tanh"}, {
        "kvHeads": 2, "window": [2, 0], **scaled(starcoder2.config.rope_parameters),
    }, bias=True)

    gpt_oss = text("gpt_oss", 53, {
        **WIDE, "sliding_window": 3, "num_local_experts": 2, "num_experts_per_tok": 1, "max_position_embeddings": 131072,
        "layer_types": ["sliding_attention", "full_attention"],
    })
    for index, kind in enumerate(gpt_oss.config.layer_types):
        window = {"window": [2, 0]} if kind == "sliding_attention" else {}
        rotary = scaled(gpt_oss.config.rope_parameters)
        decoder(gpt_oss, index, None, {**attention, "sinks": True, **window, **rotary}, bias=True)

    next_ = text("qwen3_next", 54, {
        **WIDE, "layer_types": ["linear_attention", "full_attention"], "num_experts": 2, "num_experts_per_tok": 1,
        "moe_intermediate_size": 8, "shared_expert_intermediate_size": 8, "linear_key_head_dim": 4,
        "linear_value_head_dim": 6, "linear_num_key_heads": 2, "linear_num_value_heads": 4,
    })
    decoder(next_, 1, None, {**attention, "outputGate": True, **norm, **scaled(next_.config.rope_parameters)})
    next_.case("GatedDeltaNet", {"keyHeads": 2, "valueHeads": 4, "keyDim": 4, "valueDim": 6}, "layers.0.linear_attn")

    latent()


def latent():
    """DeepSeek V3, with and without a low-rank query, and with YaRN's scaling of the scores."""
    config = {
        **TEXT, "moe_intermediate_size": F, "n_routed_experts": 4, "n_group": 2, "topk_group": 1,
        "num_experts_per_tok": 1, "first_k_dense_replace": 2, "kv_lora_rank": 8, "qk_rope_head_dim": 4,
        "qk_nope_head_dim": 6, "v_head_dim": 5, "num_key_value_heads": H,
    }
    yarn = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "beta_fast": 32.0, "beta_slow": 1.0,
            "mscale": 1.0, "mscale_all_dim": 1.0, "original_max_position_embeddings": 8}
    shared = {**HEADS, "latentRank": 8, "nopeDim": 6, "rotaryDim": 4, "valueDim": 5, "causal": True}
    for seed, (name, rank, rope) in enumerate([
        ("deepseek_v3", 12, {"rope_type": "default", "rope_theta": 10000.0}), ("deepseek_v3_yarn", None, yarn),
    ], 60):
        made = config_of("deepseek_v3", {**config, "q_lora_rank": rank, "rope_parameters": rope})
        family = Family(name, AutoModel.from_config(made), seed, input_ids=tokens(seed))
        rotary = {"interleaved": True, "scaling": family.config.rope_parameters}
        given = {**shared, "rotary": rotary, **({"queryRank": rank} if rank else {})}
        family.case("LatentAttention", given, "layers.0.self_attn")


def others():
    """Blocks of diffusers and torch."""
    model = torch.nn.ModuleDict({"block": BasicTransformerBlock(M, H, D, cross_attention_dim=16, activation_fn="geglu")})
    run = model["block"]
    family = Family("diffusers", Wrapper(run), 70, x=normal(70, B, T, M), context=normal(71, B, 5, 16))
    biases = {"query": False, "key": False, "value": False, "output": True}
    family.case("SelfAttention", {**HEADS, "useBias": biases}, "block.attn1")
    family.case("CrossAttention", {**HEADS, "kDim": 16, "useBias": biases}, "block.attn2")
    family.case("TransformerDecoderLayer", {
        **BLOCK, "feedForwardDim": 4 * M, "activation": "gelu", "gated": True, "normFirst": True,
        "attention": {"useBias": biases, "causal": False}, "crossAttention": {"useBias": biases, "kDim": 16},
    }, "block", context="block.attn2")

    layer = torch.nn.TransformerEncoderLayer(M, H, F, batch_first=True, bias=False, norm_first=True, activation="gelu")
    family = Family("torch", Wrapper(layer), 72, x=normal(72, B, T, M))
    family.case(
        "TransformerEncoderLayer", {**BLOCK, "activation": "gelu", "normFirst": True, "useBias": False}, "block"
    )
    layer = torch.nn.TransformerDecoderLayer(M, H, F, batch_first=True)
    family = Family("torch_decoder", Wrapper(layer), 73, x=normal(73, B, T, M), context=normal(74, B, 5, M))
    family.run.contexts["block"] = normal(74, B, 5, M)
    family.case("TransformerDecoderLayer", {**BLOCK, "attention": {"causal": False}}, "block", context="block")
    for name, options, config in [
        ("torch_bias_kv", {"add_bias_kv": True}, {"addBiasKv": True}),
        ("torch_zero", {"add_zero_attn": True}, {"addZeroAttn": True}),
    ]:
        layer = torch.nn.MultiheadAttention(M, H, batch_first=True, **options)
        family = Family(name, SelfWrapper(layer), 75, x=normal(75, B, T, M))
        family.case("SelfAttention", {**HEADS, **config}, "block")


class Wrapper(torch.nn.Module):
    """Gives a bare block a path."""

    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, x, context=None):
        if context is None:
            return self.block(x)
        if isinstance(self.block, torch.nn.TransformerDecoderLayer):
            return self.block(x, context)
        return self.block(x, encoder_hidden_states=context)


class SelfWrapper(Wrapper):
    def forward(self, x):
        return self.block(x, x, x)


encoders()
vision()
speech()
encoder_decoders()
decoders()
others()
golden.write()
