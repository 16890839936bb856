"""Writes lora.safetensors: adapters of the small BERT in __test__/golden/models, which PEFT trains by contrastive
pairs, as examples/train-lora does.

The model, its adapters and the optimizer run in float32, with dropout 0. The adapters before and after training have
the names that PEFT saves them under.
"""

import numpy as np
import peft
import torch
import transformers
from torch.nn import functional as F

from golden import FOLDER, Golden

TORCH = torch.__version__.split("+")[0]
golden = Golden("lora", f"PEFT {peft.__version__}, PyTorch {TORCH} and transformers {transformers.__version__}")

STEPS, WARMUP, RATE, TEMPERATURE = 50, 4, 0.01, 0.005
BATCHES, PAIRS, WORDS = 5, 6, 40
CASES = {
    "query and value": dict(r=2, lora_alpha=4, target_modules=["query", "value"]),
    "all projections": dict(
        r=4,
        lora_alpha=6,
        target_modules=["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"],
    ),
}


def pairs():
    """Batches of texts, and of the same texts with a third of their words replaced."""
    random = np.random.default_rng(7)
    texts = [[random.integers(1, WORDS, random.integers(3, 12)) for _ in range(PAIRS)] for _ in range(BATCHES)]
    changed = [
        [np.where(random.random(len(text)) < 1 / 3, random.integers(1, WORDS, len(text)), text) for text in batch]
        for batch in texts
    ]
    return texts, changed


def vectors(model, texts):
    """The means of the last hidden states."""
    ids = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(text) for text in texts], batch_first=True)
    mask = torch.arange(ids.shape[1]) < torch.tensor([len(text) for text in texts])[:, None]
    hidden = model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    return (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def adapters(model, when):
    """The adapters as PEFT saves them."""
    return {f"{when}.{name}": value.numpy().copy() for name, value in peft.get_peft_model_state_dict(model).items()}


def train(seed, name, settings):
    torch.manual_seed(seed)
    base = transformers.BertModel.from_pretrained(
        FOLDER / "models" / "bert", hidden_dropout_prob=0, attention_probs_dropout_prob=0
    )
    texts, queries = pairs()
    with torch.no_grad():
        wanted = [vectors(base, batch) for batch in texts]
    model = peft.get_peft_model(base, peft.LoraConfig(lora_dropout=0, **settings)).train()
    tensors = {f"wanted.{at}": rows.numpy() for at, rows in enumerate(wanted)} | adapters(model, "before")
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=RATE)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, WARMUP, STEPS)
    curve = []
    for step in range(STEPS):
        found = vectors(model, queries[step % BATCHES])
        scores = F.normalize(found, dim=-1) @ F.normalize(wanted[step % BATCHES], dim=-1).mT / TEMPERATURE
        loss = F.cross_entropy(scores, torch.arange(PAIRS))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        curve.append(loss.item())
    tensors |= adapters(model, "after")
    with torch.no_grad():
        tensors["merged"] = vectors(model.merge_and_unload(), queries[0]).numpy()
    print(f"{name}: loss {curve[0]:.4f} to {curve[-1]:.4f}")
    settings = dict(rank=settings["r"], alpha=settings["lora_alpha"], rate=RATE, warmup=WARMUP, temperature=TEMPERATURE)
    lists = [[text.tolist() for text in batch] for batch in queries]
    golden.add(name, tensors, curve=curve, queries=lists, **settings)


for seed, (name, settings) in enumerate(CASES.items()):
    train(seed, name, settings)
golden.write()
