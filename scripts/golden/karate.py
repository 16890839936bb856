"""Trains a two-layer GAT on Zachary's karate club and writes examples/karate/karate.safetensors.

The file contains the graph, the labels, the nodes with labels in training, the trained weights, and the results of
PyTorch Geometric with these weights in 64 bits. The graph and its four communities come with PyTorch Geometric:
Zachary 1977; Kipf & Welling 2017, with a label for one node of each community.
"""

import copy

import numpy as np
import torch
import torch.nn.functional as F
import torch_geometric
from safetensors.numpy import save_file
from torch_geometric.datasets import KarateClub
from torch_geometric.nn import GATv2Conv

from golden import ROOT

PATH = ROOT / "examples" / "karate" / "karate.safetensors"


class Network(torch.nn.Module):
    """Maps each node's number to its community."""

    def __init__(self, nodes, communities):
        super().__init__()
        self.conv1 = GATv2Conv(nodes, 8, heads=4, dropout=0.5)
        self.conv2 = GATv2Conv(32, communities, heads=1, dropout=0.5)

    def forward(self, x, edges):
        hidden, (order, first) = self.conv1(x, edges, return_attention_weights=True)
        output, (_, second) = self.conv2(F.elu(hidden), edges, return_attention_weights=True)
        return output, order, first, second


def main():
    torch.manual_seed(0)
    data = KarateClub()[0]
    network = Network(data.num_nodes, int(data.y.max()) + 1)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01, weight_decay=5e-3)
    for _ in range(200):
        optimiser.zero_grad()
        output, *_ = network(data.x, data.edge_index)
        F.cross_entropy(output[data.train_mask], data.y[data.train_mask]).backward()
        optimiser.step()
    exact = copy.deepcopy(network).double().eval()
    with torch.no_grad():
        output, order, first, second = exact(data.x.double(), data.edge_index)
    correct = output.argmax(1) == data.y
    unseen = correct[~data.train_mask]
    print(f"{int(unseen.sum())} of the {len(unseen)} nodes without a label, {int(correct.sum())} of all {len(correct)}")
    tensors = {name: parameter.numpy() for name, parameter in network.state_dict().items()}
    floats = {
        "source": data.edge_index[0],
        "target": data.edge_index[1],
        "labels": data.y,
        "trained": data.train_mask,
        "expected.output": output,
        "expected.first": first,
        "expected.second": second,
        "expected.order": order,
    }
    tensors |= {name: tensor.numpy().astype(np.float32) for name, tensor in floats.items()}
    version = f"PyTorch Geometric {torch_geometric.__version__}, PyTorch {torch.__version__.split('+')[0]}"
    PATH.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, PATH, metadata={"reference": version})
    print(f"{PATH.relative_to(ROOT)}: {PATH.stat().st_size} bytes")


if __name__ == "__main__":
    main()
