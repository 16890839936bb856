"""Writes __test__/golden/gguf/: small GGUF files, and what the packages gguf, transformers and tokenizers read from them.

`types.gguf` has a tensor of each type, and metadata of each kind; types.safetensors has the tensors dequantized.
`llama.gguf` and `qwen3.gguf` are random models with quantized weights and a vocabulary; expected.safetensors has hidden
states, logits and greedy tokens of the same dequantized weights in transformers, tokens.json the tokens of texts.
"""

import json

import numpy as np
import torch
import transformers as hf
from gguf import GGMLQuantizationType as Type
from gguf import GGUFReader, GGUFWriter, dequantize, quantize
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from golden import FOLDER
from models import IDS, randomize

ROOT = FOLDER / "gguf"
SIZES = dict(
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=64,
    max_position_embeddings=64,
    rope_theta=5000.0,
    tie_word_embeddings=True,
)
TEXTS = [
    "Gravity is what keeps the 1234 planets in orbit, isn't it?",
    "  Überraschung!\n\n\tIt's 2026: naïve café — 你好 🙂",
    "we'll see   what they've DONE",
    "",
]
SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False)
SPLITS = {
    "default": BYTES,
    "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), BYTES]),
    **{
        name: pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(SPLIT % digits), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        for name, digits in {"llama-bpe": r"\p{N}{1,3}", "qwen2": r"\p{N}"}.items()
    },
}
OUTER = {"embed_tokens": "token_embd", "norm": "output_norm"}
INNER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_types():
    generator = np.random.default_rng(5)
    writer = GGUFWriter(ROOT / "types.gguf", "none")
    writer.add_uint8("kinds.uint8", 200)
    writer.add_int8("kinds.int8", -100)
    writer.add_uint16("kinds.uint16", 60000)
    writer.add_int16("kinds.int16", -30000)
    writer.add_uint64("kinds.large", 2**63 + 1)
    writer.add_uint64("kinds.uint64", 2**40)
    writer.add_int64("kinds.int64", -(2**40))
    writer.add_float64("kinds.float64", 0.1)
    writer.add_bool("kinds.bool", True)
    writer.add_array("kinds.strings", ["a", "ü", ""])
    writer.add_array("kinds.integers", [1, -2, 3])
    expected = {}
    for kind in (Type.F32, Type.F16, Type.BF16, Type.Q4_0, Type.Q4_1, Type.Q8_0, Type.Q5_0):
        values = (generator.standard_normal((3, 96)) * 10.0 ** generator.integers(-3, 3, (3, 1))).astype(np.float32)
        values[1, :32] = 0
        if kind in (Type.F32, Type.F16):
            data = values.astype(np.float32 if kind == Type.F32 else np.float16)
            writer.add_tensor(kind.name, data)
            expected[kind.name] = data.astype(np.float32)
        else:
            data = quantize(values, kind)
            writer.add_tensor(kind.name, data, raw_dtype=kind)
            expected[kind.name] = dequantize(data, kind)
    close(writer)
    del expected["Q5_0"]
    save_file({name: torch.from_numpy(data.copy()) for name, data in expected.items()}, ROOT / "types.safetensors")


def close(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def vocabulary():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = SPLITS["smollm"]
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<|end|>", "<|begin|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    return json.loads(tokenizer.to_str())["model"]


def encode(model, split):
    merges = [tuple(merge) for merge in model["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=model["vocab"], merges=merges, ignore_merges=split == "llama-bpe"))
    tokenizer.pre_tokenizer = SPLITS[split]
    tokenizer.decoder = decoders.ByteLevel()
    if split == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.add_special_tokens(["<|end|>", "<|begin|>"])
    return [tokenizer.encode(text + "<|end|>").ids for text in TEXTS]


def interleaved(weight, heads):
    """Rows as llama.cpp orders them for rotary positions of neighboring features."""
    rows = weight.shape[0]
    return weight.reshape(heads, 2, rows // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def halved(weight, heads):
    rows = weight.shape[0]
    return weight.reshape(heads, rows // heads // 2, 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


@torch.no_grad()
def write_model(name, model, tokens):
    config = model.config
    writer = GGUFWriter(ROOT / f"{name}.gguf", name)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    ordered = sorted(tokens["vocab"], key=tokens["vocab"].get)
    writer.add_token_list(ordered)
    writer.add_token_types([3 if token.startswith("<|") else 1 for token in ordered])
    writer.add_token_merges([" ".join(merge) for merge in tokens["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_chat_template("{% for m in messages %}{{ '<|begin|>' + m['content'] + '<|end|>' }}{% endfor %}")
    kinds = [Type.Q4_1, Type.Q8_0, Type.Q4_0, Type.BF16, Type.F16]
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads} if name == "llama" else {}
    state = model.model.state_dict()
    for index, (full, weight) in enumerate(state.items()):
        part, kind = full.rsplit(".", 1)
        values = weight.numpy()
        own = heads.get(part.rsplit(".", 1)[-1])
        stored = interleaved(values, own) if own else values
        prefix = f"blk.{part.split('.')[1]}." if part.startswith("layers.") else ""
        target = prefix + (INNER[part.split(".", 2)[2]] if prefix else OUTER[part])
        if values.ndim == 1:
            writer.add_tensor(f"{target}.{kind}", stored)
            continue
        dtype = Type.Q8_0 if part == "embed_tokens" else kinds[index % len(kinds)]
        data = stored.astype(np.float16) if dtype == Type.F16 else quantize(np.ascontiguousarray(stored), dtype)
        writer.add_tensor(f"{target}.{kind}", data, raw_dtype=None if dtype == Type.F16 else dtype)
        read = data.astype(np.float32) if dtype == Type.F16 else dequantize(data, dtype)
        weight.copy_(torch.from_numpy((halved(read, own) if own else read).copy()))
    close(writer)
    assert len(GGUFReader(ROOT / f"{name}.gguf").tensors) == len(state)
    hidden, logits = [], []
    for ids in IDS:
        inputs = torch.tensor([ids])
        hidden.append(model.model(inputs).last_hidden_state[0])
        logits.append(model(inputs).logits[0])
    greedy = dict(max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0)
    made = torch.cat([model.generate(torch.tensor([ids]), **greedy)[:, len(ids) :] for ids in IDS]).float()
    expected = {"hidden": torch.cat(hidden), "logits": torch.cat(logits), "tokens": made}
    save_file(expected, ROOT / f"{name}.safetensors")


def main():
    ROOT.mkdir(exist_ok=True)
    write_types()
    tokens = vocabulary()
    sizes = dict(SIZES, vocab_size=len(tokens["vocab"]))
    write_model("llama", randomize(hf.LlamaForCausalLM(hf.LlamaConfig(**sizes)), 301), tokens)
    write_model("qwen3", randomize(hf.Qwen3ForCausalLM(hf.Qwen3Config(**sizes, head_dim=16)), 302), tokens)
    splits = {split: encode(tokens, split) for split in SPLITS}
    (ROOT / "tokens.json").write_text(json.dumps({"texts": TEXTS, "ids": splits}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
