"""Writes __test__/golden/models/: small random models as folders, and what transformers and sentence-transformers give.

Each folder has the config.json of transformers 5 and, as config.v4.json, that of version 4. `expected.safetensors` has
the hidden states of three texts, packed, and the logits of the head.
"""

import json
import shutil

import torch
import transformers as hf
from safetensors.torch import save_file
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.models import Dense, Normalize, Pooling, Transformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from golden import FOLDER

ROOT = FOLDER / "models"
SIZES = dict(
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=24,
    vocab_size=40,
    max_position_embeddings=20,
)
DISTILBERT = dict(dim=16, n_layers=2, n_heads=2, hidden_dim=24, vocab_size=40, max_position_embeddings=20)
DECODER = dict(
    hidden_size=16,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    intermediate_size=24,
    vocab_size=40,
    max_position_embeddings=64,
)
IDS = [[5, 6, 7, 8, 9, 10, 11], [12, 13, 14], [20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31]]

MODERN = dict(
    SIZES, num_hidden_layers=4, local_attention=4, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2
)

def without(sizes, *names):
    return {name: value for name, value in sizes.items() if name not in names}


CASES = {
    "bert": lambda: hf.BertModel(hf.BertConfig(**SIZES)),
    "bert-classes": lambda: hf.BertForSequenceClassification(hf.BertConfig(**SIZES, num_labels=3)),
    "bert-words": lambda: hf.BertForMaskedLM(hf.BertConfig(**SIZES)),
    "roberta-score": lambda: hf.RobertaForSequenceClassification(hf.RobertaConfig(**SIZES, num_labels=1)),
    "roberta-words": lambda: hf.RobertaForMaskedLM(hf.RobertaConfig(**SIZES)),
    "xlm-roberta-tokens": lambda: hf.XLMRobertaForTokenClassification(hf.XLMRobertaConfig(**SIZES, num_labels=5)),
    "camembert": lambda: hf.CamembertModel(hf.CamembertConfig(**SIZES)),
    "electra-classes": lambda: hf.ElectraForSequenceClassification(hf.ElectraConfig(**SIZES, embedding_size=8)),
    "electra-words": lambda: hf.ElectraForMaskedLM(hf.ElectraConfig(**SIZES, embedding_size=8)),
    "distilbert-classes": lambda: hf.DistilBertForSequenceClassification(hf.DistilBertConfig(**DISTILBERT)),
    "distilbert-words": lambda: hf.DistilBertForMaskedLM(hf.DistilBertConfig(**DISTILBERT)),
    "mpnet-classes": lambda: hf.MPNetForSequenceClassification(hf.MPNetConfig(**SIZES)),
    "mpnet-words": lambda: hf.MPNetForMaskedLM(hf.MPNetConfig(**SIZES)),
    "albert-classes": lambda: hf.AlbertForSequenceClassification(hf.AlbertConfig(**SIZES, embedding_size=8)),
    "albert-words": lambda: hf.AlbertForMaskedLM(hf.AlbertConfig(**SIZES, embedding_size=8)),
    "modernbert-classes": lambda: hf.ModernBertForSequenceClassification(hf.ModernBertConfig(**MODERN, classifier_pooling="mean")),
    "modernbert-words": lambda: hf.ModernBertForMaskedLM(hf.ModernBertConfig(**MODERN)),
    "nomic": lambda: hf.NomicBertModel(hf.NomicBertConfig(**SIZES)),
    "nomic-classes": lambda: hf.NomicBertForSequenceClassification(hf.NomicBertConfig(**SIZES)),
    "nomic-words": lambda: hf.NomicBertForMaskedLM(hf.NomicBertConfig(**SIZES)),
}

IMAGE = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, image_size=8, patch_size=4)
DINO = dict(without(IMAGE, "intermediate_size"), mlp_ratio=2)
TEXT = dict(without(SIZES, "num_hidden_layers"), num_hidden_layers=2, bos_token_id=38, eos_token_id=39, pad_token_id=1)
CLIP = dict(text_config=TEXT, vision_config=dict(IMAGE, hidden_size=24, intermediate_size=32), projection_dim=12)
SIGLIP = dict(text_config=TEXT, vision_config=IMAGE)

IMAGES = {
    "vit": lambda: hf.ViTModel(hf.ViTConfig(**IMAGE)),
    "vit-classes": lambda: hf.ViTForImageClassification(hf.ViTConfig(**IMAGE)),
    "dinov2": lambda: hf.Dinov2Model(hf.Dinov2Config(**DINO)),
    "dinov2-classes": lambda: hf.Dinov2ForImageClassification(hf.Dinov2Config(**DINO, use_swiglu_ffn=True)),
    "clip": lambda: hf.CLIPModel(hf.CLIPConfig(**CLIP)),
    "clip-text": lambda: hf.CLIPTextModel(hf.CLIPTextConfig(**TEXT)),
    "clip-images": lambda: hf.CLIPVisionModelWithProjection(hf.CLIPVisionConfig(**IMAGE, projection_dim=12)),
    "clip-classes": lambda: hf.CLIPForImageClassification(hf.CLIPConfig(**CLIP)),
    "siglip": lambda: hf.SiglipModel(hf.SiglipConfig(**SIGLIP)),
    "siglip-text": lambda: hf.SiglipTextModel(hf.SiglipTextConfig(**TEXT)),
    "siglip-images": lambda: hf.SiglipVisionModel(hf.SiglipVisionConfig(**IMAGE)),
    "siglip-classes": lambda: hf.SiglipForImageClassification(hf.SiglipConfig(**SIGLIP)),
}

T5 = dict(
    d_model=16, d_kv=6, d_ff=24, num_layers=2, num_decoder_layers=3, num_heads=4, vocab_size=40, decoder_start_token_id=0,
    relative_attention_num_buckets=8, relative_attention_max_distance=10,
)
ANSWERS = {
    "t5": lambda: hf.T5ForConditionalGeneration(hf.T5Config(**T5)),
    "t5-gated": lambda: hf.T5ForConditionalGeneration(
        hf.T5Config(**T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    ),
    "t5-encoder": lambda: hf.T5EncoderModel(hf.T5Config(**T5)),
}

LLAMA3 = dict(
    rope_type="llama3",
    rope_theta=10000.0,
    factor=4.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=16,
)
GEMMA = dict(DECODER, query_pre_attn_scalar=6, sliding_window=4)

DECODERS = {
    "llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**DECODER, rope_parameters=LLAMA3)),
    "mistral": lambda: hf.MistralForCausalLM(hf.MistralConfig(**DECODER, sliding_window=4)),
    "qwen2": lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**without(DECODER, "head_dim"), tie_word_embeddings=True)),
    "qwen3": lambda: hf.Qwen3ForCausalLM(hf.Qwen3Config(**DECODER)),
    "gemma2": lambda: hf.Gemma2ForCausalLM(
        hf.Gemma2Config(**GEMMA, attn_logit_softcapping=2.0, final_logit_softcapping=1.5)
    ),
    "gemma3": lambda: hf.Gemma3ForCausalLM(hf.Gemma3TextConfig(**GEMMA, layer_types=layer_types(3))),
    "phi3": lambda: hf.Phi3ForCausalLM(
        hf.Phi3Config(**without(DECODER, "head_dim"), pad_token_id=0, sliding_window=6)
    ),
    "olmo2": lambda: hf.Olmo2ForCausalLM(hf.Olmo2Config(**without(DECODER, "head_dim"))),
    "smollm3": lambda: hf.SmolLM3ForCausalLM(
        hf.SmolLM3Config(**without(DECODER, "head_dim"), no_rope_layers=[1, 0, 1], pad_token_id=0, bos_token_id=1, eos_token_id=2)
    ),
    "starcoder2": lambda: hf.Starcoder2ForCausalLM(hf.Starcoder2Config(**without(DECODER, "head_dim"), sliding_window=5)),
    "gpt2": lambda: hf.GPT2LMHeadModel(
        hf.GPT2Config(n_embd=16, n_layer=3, n_head=4, n_positions=64, vocab_size=40)
    ),
    "gpt_neox": lambda: hf.GPTNeoXForCausalLM(
        hf.GPTNeoXConfig(**without(DECODER, "head_dim", "num_key_value_heads"), rotary_pct=0.5)
    ),
}


def layer_types(count):
    return ["full_attention" if index == count - 1 else "sliding_attention" for index in range(count)]


WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a man is eating food someone eats meal the sky blue who ate what query : ##s ##ing".split()
TEXTS = ["A man is eating food", "Someone eats a meal", "The sky is blue", "the the the a a a blue blue sky sky man man food food"]


def randomize(model, seed):
    """Draws every parameter from N(0, 0.04) by a seed, which gives hidden states of all sizes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model.eval()


def older(config):
    """The same configuration as version 4 of transformers wrote it."""
    old = {("torch_dtype" if key == "dtype" else key): value for key, value in config.items()}
    old["transformers_version"] = "4.46.0"
    if old["model_type"] in ("bert", "roberta", "xlm-roberta", "camembert", "electra"):
        old["position_embedding_type"] = "absolute"
    if old["model_type"] == "t5":
        # Version 4 had no setting for the scale of the outputs, which followed the tying of words.
        return old | {"tie_word_embeddings": old.pop("scale_decoder_outputs")}
    if old["model_type"] == "nomic_bert":
        return older_nomic(old)
    if old["model_type"] == "modernbert":
        rotary = old.pop("rope_parameters")
        del old["layer_types"]
        return old | {
            "global_attn_every_n_layers": 3,
            "global_rope_theta": rotary["full_attention"]["rope_theta"],
            "local_rope_theta": rotary["sliding_attention"]["rope_theta"],
        }
    if old["model_type"] == "gemma3_text":
        for name in ("layer_types", "_sliding_window_pattern"):
            del old[name]
        old["sliding_window_pattern"] = 3
    rotary = old.pop("rope_parameters", None)
    if rotary is None:
        return old
    if "full_attention" in rotary:
        old["rope_local_base_freq"] = rotary["sliding_attention"]["rope_theta"]
        rotary = rotary["full_attention"]
    rest = {key: value for key, value in rotary.items() if key not in ("rope_theta", "partial_rotary_factor")}
    if "partial_rotary_factor" in rotary:
        old["rotary_pct" if old["model_type"] == "gpt_neox" else "partial_rotary_factor"] = rotary["partial_rotary_factor"]
    old["rotary_emb_base" if old["model_type"] == "gpt_neox" else "rope_theta"] = rotary["rope_theta"]
    old["rope_scaling"] = None if rest["rope_type"] == "default" else rest
    return old


def older_nomic(config):
    """Nomic's own config.json, which has the names of GPT-2."""
    names = dict(
        hidden_size="n_embd", num_hidden_layers="n_layer", num_attention_heads="n_head", intermediate_size="n_inner",
        max_position_embeddings="n_positions", layer_norm_eps="layer_norm_epsilon",
    )
    kept = ("architectures", "model_type", "torch_dtype", "transformers_version", "type_vocab_size", "vocab_size")
    return {key: config[key] for key in kept} | {new: config[key] for key, new in names.items()} | dict(
        activation_function="swiglu", causal=False, prenorm=False, parallel_block=False, qkv_proj_bias=False,
        mlp_fc1_bias=False, mlp_fc2_bias=False, use_rms_norm=False, rotary_emb_base=1000, rotary_emb_fraction=1.0,
        rotary_emb_interleaved=False, rotary_emb_scale_base=None, rotary_scaling_factor=None,
    )


def write_folder(name, model):
    folder = ROOT / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.v4.json").write_text(json.dumps(older(config), indent=2) + "\n")
    return folder


@torch.no_grad()
def write_case(name, model):
    folder = write_folder(name, model)
    hidden, logits = [], []
    for ids in IDS:
        inputs = torch.tensor([ids])
        hidden.append(model.base_model(inputs).last_hidden_state[0])
        output = model(inputs)
        if hasattr(output, "logits"):
            logits.append(output.logits.reshape(-1, output.logits.shape[-1]))
    expected = {"hidden": torch.cat(hidden)}
    if name in DECODERS:
        greedy = dict(max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0)
        expected["tokens"] = torch.cat([model.generate(torch.tensor([ids]), **greedy)[:, len(ids) :] for ids in IDS]).float()
    if logits:
        expected["logits"] = torch.cat(logits)
    save_file(expected, folder / "expected.safetensors")


@torch.no_grad()
def write_images(name, model):
    """A model of images, of texts, or of both; images of another size too if the model takes them."""
    folder = write_folder(name, model)
    config, expected = model.config, {}
    texts = [getattr(model, "text_model", model)] if "text" in name or hasattr(model, "text_model") else []
    if texts:
        hidden, logits = [], []
        for ids in IDS:
            ids = torch.tensor([ids + [39]])
            hidden.append(texts[0](ids).last_hidden_state[0])
            if hasattr(model, "get_text_features"):
                logits.append(model.get_text_features(ids).pooler_output)
            elif name == "siglip-text":
                logits.append(model(ids).pooler_output)
        expected["hidden"] = torch.cat(hidden)
        if logits:
            expected["logits"] = torch.cat(logits)
    if "text" not in name:
        sizes = {"": (8, 8), ".resized": (16, 12)} if name.startswith("dinov2") else {"": (8, 8)}
        for suffix, size in sizes.items():
            pixels = torch.randn((3, 3, *size), generator=torch.Generator().manual_seed(9))
            vision = getattr(model, "vision_model", model.base_model)
            output = model(pixel_values=pixels) if not hasattr(model, "get_image_features") else None
            expected[f"pixels{suffix}"] = pixels
            expected[f"images{suffix}"] = vision(pixels).last_hidden_state.flatten(0, 1)
            if output is None:
                expected["image_logits"] = model.get_image_features(pixels).pooler_output
            elif hasattr(output, "logits"):
                expected[f"image_logits{suffix}"] = output.logits
            elif hasattr(output, "image_embeds"):
                expected["image_logits"] = output.image_embeds
            elif name == "siglip-images":
                expected["image_logits"] = output.pooler_output
    save_file({key: value.contiguous().float() for key, value in expected.items()}, folder / "expected.safetensors")


@torch.no_grad()
def write_answers(name, model):
    folder = write_folder(name, model)
    texts = [torch.tensor([ids]) for ids in IDS]
    expected = {"hidden": torch.cat([model.encoder(ids).last_hidden_state[0] for ids in texts])}
    if name != "t5-encoder":
        # With a cache, transformers 5.23 needs as many layers in the decoder as in the encoder.
        greedy = dict(max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0, use_cache=False)
        expected["tokens"] = torch.cat([model.generate(ids, **greedy)[:, 1:] for ids in texts]).float()
    save_file(expected, folder / "expected.safetensors")


def write_tokenizer(folder):
    vocabulary = {word: index for index, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    special = dict(cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]")
    fast = hf.BertTokenizerFast(tokenizer_object=tokenizer, model_max_length=12, **special)
    fast.save_pretrained(folder)


def write_sentences(name, modes, dense):
    """A folder of sentence-transformers: pooling in some modes, a Dense module, normalization, prompts."""
    base = ROOT / f"{name}.base"
    randomize(hf.BertModel(hf.BertConfig(**SIZES)), 77).save_pretrained(base)
    write_tokenizer(base)
    transformer = Transformer(str(base), max_seq_length=12)
    pooling = Pooling(16, pooling_mode=tuple(modes))
    parts = [transformer, pooling]
    if dense:
        parts.append(randomize(Dense(16 * len(modes), 8, activation_function=torch.nn.Tanh()), 78))
        parts.append(Normalize())
    model = SentenceTransformer(modules=parts, device="cpu", prompts={"query": "query : "}).eval()
    folder = ROOT / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save(str(folder), create_model_card=False)
    expected = {
        "plain": model.encode(TEXTS, convert_to_tensor=True),
        "prompted": model.encode(TEXTS, prompt_name="query", convert_to_tensor=True),
        "short": model.encode(TEXTS, truncate_dim=5, normalize_embeddings=True, convert_to_tensor=True),
    }
    save_file({key: value.contiguous() for key, value in expected.items()}, folder / "expected.safetensors")
    shutil.rmtree(base)


def write_cross_encoder(name):
    folder = write_folder(name, randomize(hf.BertForSequenceClassification(hf.BertConfig(**SIZES, num_labels=1)), 79))
    write_tokenizer(folder)
    model = CrossEncoder(str(folder), device="cpu")
    scores = model.predict([(TEXTS[0], text) for text in TEXTS], convert_to_tensor=True)
    save_file({"scores": scores.float()}, folder / "expected.safetensors")


def main():
    for seed, (name, make) in enumerate(CASES.items()):
        write_case(name, randomize(make(), seed))
    for seed, (name, make) in enumerate(DECODERS.items()):
        write_case(name, randomize(make(), 100 + seed))
    for seed, (name, make) in enumerate(ANSWERS.items()):
        write_answers(name, randomize(make(), 250 + seed))
    for seed, (name, make) in enumerate(IMAGES.items()):
        write_images(name, randomize(make(), 200 + seed))
    write_sentences("sentences-dense", ["cls", "mean"], True)
    for mode in ("max", "weightedmean", "lasttoken", "mean_sqrt_len_tokens"):
        write_sentences(f"sentences-{mode}", [mode], False)
    write_cross_encoder("cross-encoder")
    (ROOT / "texts.json").write_text(json.dumps({"ids": IDS, "texts": TEXTS}) + "\n")


if __name__ == "__main__":
    main()
