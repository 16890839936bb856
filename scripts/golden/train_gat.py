"""Trains the network of examples/train-gat on its stochastic block model in PyTorch Geometric, in 64 bits, and writes
the losses of all steps to examples/train-gat/pyg.json.

The graph, the first parameters and the settings are those of the example, which Node prints.
"""

import json
import subprocess

import torch
import torch.nn.functional as F
from torch_geometric.nn import GATv2Conv

from golden import ROOT

PATH = ROOT / "examples" / "train-gat" / "pyg.json"
STEPS = 40
PRINT = """
import { loadBackend } from '@ruvector/attention/training'
import { blockModel } from './examples/train-page/blocks.js'
import { SETTINGS, createNetwork } from './examples/train-page/network.js'
const data = blockModel()
const network = createNetwork(await loadBackend('native'), data, SETTINGS.blocks)
const plain = ({ data, shape }) => ({ data: [...data], shape })
const states = network.layers.map((layer) =>
  Object.fromEntries(Object.entries(layer.stateDict()).map(([name, tensor]) => [name, plain(tensor)])))
console.log(JSON.stringify({ ...data, x: plain(data.x), states, settings: SETTINGS.blocks }))
"""


def tensor(entry):
    return torch.tensor(entry["data"], dtype=torch.float64).reshape(entry["shape"])


def main():
    printed = subprocess.run(
        ["node", "--input-type=module", "-e", PRINT], cwd=ROOT, check=True, capture_output=True, text=True
    )
    data = json.loads(printed.stdout)
    layers = [GATv2Conv(16, 8, heads=4).double(), GATv2Conv(32, 5).double()]
    for layer, state in zip(layers, data["states"]):
        layer.load_state_dict({name: tensor(entry) for name, entry in state.items()})
    first, second = layers
    settings = data["settings"]
    optimizer = torch.optim.AdamW(
        [*first.parameters(), *second.parameters()], lr=settings["learningRate"], weight_decay=settings["weightDecay"]
    )
    x, labels, given = tensor(data["x"]), torch.tensor(data["labels"]), torch.tensor(data["given"])
    edges = torch.tensor([data["source"], data["target"]])
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = F.cross_entropy(second(F.elu(first(x, edges)), edges)[given], labels[given])
        loss.backward()
        optimizer.step()
        losses.append(round(loss.item(), 6))
    with torch.no_grad():
        predicted = second(F.elu(first(x, edges)), edges).argmax(1)
    right = int((predicted == labels)[~given].sum())
    PATH.write_text(json.dumps({"losses": losses, "right": right}) + "\n")
    print(f"loss {losses[0]} to {losses[-1]}, {right} of {int((~given).sum())} nodes")


if __name__ == "__main__":
    main()
