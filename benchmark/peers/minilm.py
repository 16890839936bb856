"""Exports all-MiniLM-L6-v2 for ONNX Runtime and transformers.js, which cannot run safetensors files.

    python3 benchmark/peers/minilm.py

reads output/models/all-MiniLM-L6-v2, which `npm run setup` fetches, and writes output/models/all-MiniLM-L6-v2-onnx in
the layout of transformers.js: onnx/model.onnx with 32-bit floats, and onnx/model_quantized.onnx with weights of 8 bits,
a scale for each channel, and inputs quantized at run time. Needs torch, transformers, onnxscript and onnxruntime.
"""

import json
import shutil
from pathlib import Path

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import AutoModel

MODELS = Path(__file__).parents[2] / "output" / "models"
SOURCE, TARGET = MODELS / "all-MiniLM-L6-v2", MODELS / "all-MiniLM-L6-v2-onnx"
INPUTS = ["input_ids", "attention_mask", "token_type_ids"]


class Hidden(torch.nn.Module):
    """The last hidden states, as the only output."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        given = dict(zip(INPUTS, (input_ids, attention_mask, token_type_ids)))
        return self.model(**given).last_hidden_state


def main():
    folder = TARGET / "onnx"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ["config.json", "tokenizer.json"]:
        shutil.copy(SOURCE / name, TARGET / name)
    # transformers.js reads the longest text from here, sentence-transformers from its own file.
    settings = json.loads((SOURCE / "tokenizer_config.json").read_text())
    settings["model_max_length"] = json.loads((SOURCE / "sentence_bert_config.json").read_text())["max_seq_length"]
    (TARGET / "tokenizer_config.json").write_text(json.dumps(settings))
    model = Hidden(AutoModel.from_pretrained(SOURCE, attn_implementation="eager")).eval()
    ids = torch.randint(1000, 20000, (2, 9))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    size = {0: torch.export.Dim("texts", min=1, max=4096), 1: torch.export.Dim("tokens", min=2, max=512)}
    path = folder / "model.onnx"
    program = torch.onnx.export(
        model,
        (ids, mask, torch.zeros_like(ids)),
        input_names=INPUTS,
        output_names=["last_hidden_state"],
        dynamic_shapes=[size] * 3,
        dynamo=True,
        external_data=False,
    )
    program.save(path)
    quantize_dynamic(path, folder / "model_quantized.onnx", per_channel=True, weight_type=QuantType.QInt8)
    for file in sorted(folder.iterdir()):
        print(f"{file.relative_to(MODELS)}: {file.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
