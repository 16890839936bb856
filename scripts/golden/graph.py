"""Writes torch-geometric.safetensors: the graph layers, messages and softmax of PyTorch Geometric; and
graph-gradients.safetensors: their gradients by PyTorch's autograd.

Initial state dicts are PyTorch's own float32 numbers after torch.manual_seed; forward passes run in float64.
"""

import copy

import numpy as np
import torch
import torch_geometric
from torch_geometric.nn import GATConv, GATv2Conv, GCNConv, HeteroConv, SAGEConv, SimpleConv, TransformerConv
from torch_geometric.utils import softmax

from golden import Golden, normal

reference = f"PyTorch Geometric {torch_geometric.__version__}, PyTorch {torch.__version__.split('+')[0]}"
golden = Golden("torch-geometric", reference)
gradients = Golden("graph-gradients", reference)

# This package's names for constructor options and layers of PyTorch Geometric.
NAMES = {
    "in_channels": "inFeatures",
    "out_channels": "outFeatures",
    "bias": "useBias",
    "heads": "numHeads",
    "edge_dim": "edgeFeatures",
    "add_self_loops": "addSelfLoops",
    "negative_slope": "negativeSlope",
    "fill_value": "fillValue",
    "root_weight": "rootWeight",
    "aggr": "reduce",
}
LAYERS = {
    GCNConv: ("GraphConvolution", {}),
    SAGEConv: ("GraphSage", {}),
    GATConv: ("GraphAttention", {"version": 1}),
    GATv2Conv: ("GraphAttention", {"version": 2}),
    TransformerConv: ("GraphTransformer", {}),
}


def made(kind, seed, arguments):
    """The layer, and its description in a case."""
    torch.manual_seed(seed)
    name, config = LAYERS[kind]
    config = {NAMES.get(key, key): value for key, value in arguments.items()} | config | {"seed": seed}
    return kind(**arguments), {"layer": name, "config": config}


def title(kind, arguments):
    return ", ".join([kind.__name__] + [f"{name} {value}" for name, value in arguments.items()])


def state(module):
    return {f"state.{name}": parameter.detach().numpy() for name, parameter in module.state_dict().items()}


def graph(seed, nodes, edges, loops=0):
    """Random edges with some self-loops; the last edge repeats another, and the last node has no edge."""
    random = np.random.default_rng((seed, 7))
    index = random.integers(0, nodes - 1, (2, edges))
    index[1, index[0] == index[1]] += 1
    index[1] %= nodes - 1
    index[0, :loops] = index[1, :loops]
    index[:, -1] = index[:, loops]
    return index[:, random.permutation(edges)].astype(np.int32)


# Every layer with every option at a non-default value, alone and combined.
OPTIONS = [
    (GCNConv, {}),
    (GCNConv, {"add_self_loops": False}),
    (GCNConv, {"bias": False}),
    (GCNConv, {"normalize": False}),
    (GCNConv, {"improved": True}),
    (SAGEConv, {}),
    (SAGEConv, {"aggr": "max"}),
    (SAGEConv, {"normalize": True, "bias": False}),
    (SAGEConv, {"aggr": "max", "normalize": True}),
    (SAGEConv, {"aggr": "sum", "root_weight": False}),
    (SAGEConv, {"project": True}),
    (SAGEConv, {"project": True, "bias": False, "root_weight": False, "aggr": "min"}),
    *[
        (kind, options)
        for kind in (GATConv, GATv2Conv)
        for options in (
            {},
            {"heads": 4},
            {"heads": 3, "concat": False},
            {"heads": 2, "edge_dim": 3},
            {"heads": 2, "edge_dim": 1, "add_self_loops": False, "negative_slope": 0.05},
            {"heads": 2, "add_self_loops": False, "bias": False},
            {"heads": 2, "concat": False, "edge_dim": 2, "bias": False},
            {"heads": 2, "edge_dim": 2, "fill_value": 0.75, "residual": True},
            {"heads": 3, "concat": False, "residual": True, "bias": False},
        )
    ],
    (TransformerConv, {}),
    (TransformerConv, {"heads": 4, "beta": True}),
    (TransformerConv, {"heads": 3, "concat": False}),
    (TransformerConv, {"heads": 3, "concat": False, "beta": True, "edge_dim": 2}),
    (TransformerConv, {"heads": 2, "edge_dim": 3}),
    (TransformerConv, {"heads": 2, "bias": False, "beta": True}),
]


# Layers between two node sets, whose features differ in number.
PAIRS = [
    (SAGEConv, {}),
    (SAGEConv, {"aggr": "sum", "project": True, "normalize": True}),
    *[
        (kind, options)
        for kind in (GATConv, GATv2Conv)
        for options in (
            {"heads": 2},
            {"heads": 2, "add_self_loops": False, "edge_dim": 3, "residual": True},
            {"edge_dim": 2, "fill_value": -0.5, "concat": False, "heads": 2},
        )
    ],
    (TransformerConv, {"heads": 2, "edge_dim": 3}),
    (TransformerConv, {"heads": 2, "beta": True, "concat": False}),
]


def initial():
    seeds = [0, 1234, 7, 2**31 + 5, 2**32 + 7]
    cases = [(kind, options, 3 + index % 3 * 5) for index, (kind, options) in enumerate(OPTIONS)]
    cases += [(kind, options, (3 + index % 3, 8 - index % 2)) for index, (kind, options) in enumerate(PAIRS)]
    for index, (kind, options, inputs) in enumerate(cases):
        arguments = {"in_channels": inputs, "out_channels": 4 + index % 2 * 3, **options}
        module, described = made(kind, seeds[index % len(seeds)], arguments)
        golden.add(f"initial, {title(kind, arguments)}", state(module), kind="initial", order=list(module.state_dict()), **described)


def forward(kind, options, seed, inputs, outputs, nodes, edges, loops, weighted=False):
    """A forward pass with random biases, in float64."""
    arguments = {"in_channels": inputs, "out_channels": outputs, **options}
    module, described = made(kind, seed, arguments)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "bias" in name:
                parameter.copy_(torch.from_numpy(normal((seed, 3), *parameter.shape)))
    index = graph(seed, nodes, edges, loops) if edges else np.zeros((2, 0), np.int32)
    size = options.get("edge_dim")
    x, attributes = normal((seed, 0), nodes, inputs), normal((seed, 1), edges, size) if size else None
    weight = np.abs(normal((seed, 2), edges)) if weighted else None
    exact = copy.deepcopy(module).double().eval()
    double = lambda array: None if array is None else torch.from_numpy(array).double()
    call = {"x": double(x), "edge_index": torch.from_numpy(index).long()}
    if size:
        call["edge_attr"] = double(attributes)
    if weighted:
        call["edge_weight"] = double(weight)
    weights, order = None, None
    with torch.no_grad():
        if kind in (GCNConv, SAGEConv):
            output = exact(**call)
        else:
            output, (order, weights) = exact(**call, return_attention_weights=True)
            weights = weights.numpy()
    tensors = state(module) | {"x": x, "edges": index.astype(np.float32), "edgeAttr": attributes, "edgeWeight": weight}
    tensors |= {"output": output.numpy(), "weights": weights}
    tensors["order"] = None if order is None else order.numpy().astype(np.float32)
    name = f"forward {seed}, {title(kind, arguments)}, {nodes} nodes, {edges} edges{', weighted' if weighted else ''}"
    golden.add(name, tensors, kind="forward", **described)


def layers():
    seed = 100
    for kind, options in OPTIONS:
        # Sizes on both sides of the SIMD vector lengths.
        for inputs, outputs, nodes, edges, loops in ((6, 5, 12, 30, 3), (9, 16, 7, 24, 0)):
            forward(kind, options, seed, inputs, outputs, nodes, edges, loops)
            seed += 1
    forward(GCNConv, {}, seed, 8, 16, 12, 40, 4, weighted=True)
    forward(GCNConv, {"add_self_loops": False}, seed + 1, 8, 16, 12, 40, 4, weighted=True)
    forward(GCNConv, {"improved": True}, seed + 10, 8, 16, 12, 40, 4, weighted=True)
    forward(GCNConv, {"normalize": False}, seed + 11, 8, 16, 12, 40, 4, weighted=True)
    for offset, kind in enumerate(LAYERS):
        forward(kind, {}, seed + 2 + offset, 3, 4, 3, 0, 0)


def between(kind, options, seed, inputs, sources, targets, edges):
    """A forward pass from one node set to another, in float64."""
    arguments = {"in_channels": inputs, "out_channels": 5, **options}
    module, described = made(kind, seed, arguments)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "bias" in name:
                parameter.copy_(torch.from_numpy(normal((seed, 3), *parameter.shape)))
    random = np.random.default_rng((seed, 7))
    index = np.stack([random.integers(0, sources, edges), random.integers(0, targets, edges)])
    # Some edges between nodes with the same number, which added self-loops replace.
    index[:, :3] = random.integers(0, min(sources, targets), 3)
    widths = (inputs, inputs) if isinstance(inputs, int) else inputs
    x = normal((seed, 0), sources, widths[0]), normal((seed, 1), targets, widths[1])
    size = options.get("edge_dim")
    attributes = normal((seed, 2), edges, size) if size else None
    exact = copy.deepcopy(module).double().eval()
    call = {"x": tuple(torch.from_numpy(part).double() for part in x), "edge_index": torch.from_numpy(index).long()}
    if size:
        call["edge_attr"] = torch.from_numpy(attributes).double()
    weights = None
    with torch.no_grad():
        if kind is SAGEConv:
            output = exact(**call)
        else:
            output, (_, weights) = exact(**call, return_attention_weights=True)
            weights = weights.numpy()
    tensors = state(module) | {"x": x[0], "xTarget": x[1], "edgeIndex": index.astype(np.float32)}
    tensors |= {"edgeAttr": attributes, "output": output.numpy(), "weights": weights}
    name = f"between {seed}, {title(kind, arguments)}, {sources} sources, {targets} targets, {edges} edges"
    golden.add(name, tensors, kind="between", **described)


def pairs():
    for index, (kind, options) in enumerate(PAIRS):
        # PyTorch Geometric takes a mean as the features of self-loops only if there are no more targets than sources.
        between(kind, options, 700 + 2 * index, (6, 9), 13, 8, 30)
        if "edge_dim" not in options or "fill_value" in options:
            between(kind, options, 701 + 2 * index, 7, 5, 11, 24)


def heterogeneous():
    """Two layers over authors and papers: a layer for each relation, whose results are summed, then ReLU."""
    sizes, inputs, hidden = {"author": 6, "paper": 9}, {"author": 4, "paper": 5}, 8
    relations = [("author", "writes", "paper"), ("paper", "cites", "paper"), ("paper", "written_by", "author")]
    random = np.random.default_rng(900)
    written = np.stack([random.integers(0, 6, 14), random.integers(0, 9, 14)])
    edges = dict(zip(relations, [written, np.stack([random.integers(0, 9, 16), random.integers(0, 9, 16)]), written[::-1]]))

    def convolutions(widths):
        return {
            relations[0]: SAGEConv((widths["author"], widths["paper"]), hidden),
            relations[1]: GATv2Conv(widths["paper"], hidden),
            relations[2]: GATConv((widths["paper"], widths["author"]), hidden, heads=2, concat=False, add_self_loops=False),
        }

    torch.manual_seed(900)
    layers = [HeteroConv(convolutions(widths), aggr="sum") for widths in (inputs, dict.fromkeys(inputs, hidden))]
    x = {kind: normal((900, index), sizes[kind], inputs[kind]) for index, kind in enumerate(sizes)}
    tensors = {f"x.{kind}": values for kind, values in x.items()}
    tensors |= {f"edgeIndex.{relation[1]}": np.ascontiguousarray(index).astype(np.float32) for relation, index in edges.items()}
    for depth, layer in enumerate(layers):
        for relation, convolution in layer.convs.items():
            named = convolution.state_dict().items()
            tensors |= {f"layer{depth}.{relation[1]}.{name}": parameter.detach().numpy() for name, parameter in named}
    outputs = {kind: torch.from_numpy(values).double() for kind, values in x.items()}
    index = {relation: torch.from_numpy(np.ascontiguousarray(ends)).long() for relation, ends in edges.items()}
    with torch.no_grad():
        for layer in layers:
            outputs = {kind: values.relu() for kind, values in layer.double()(outputs, index).items()}
    tensors |= {f"output.{kind}": values.numpy() for kind, values in outputs.items()}
    golden.add("HeteroConv, two layers", tensors, kind="heterogeneous")


def messages():
    for index, reduce in enumerate(("sum", "mean", "max", "min")):
        for weighted in (False, True):
            seed = 500 + 2 * index + weighted
            edges, x = graph(seed, 11, 50, 4), normal((seed, 0), 11, 19)
            weight = normal((seed, 1), 50) if weighted else None
            call = torch.from_numpy(x).double(), torch.from_numpy(edges).long()
            output = SimpleConv(aggr=reduce)(*call, None if weight is None else torch.from_numpy(weight).double())
            tensors = {"x": x, "edges": edges.astype(np.float32), "edgeWeight": weight, "output": output.numpy()}
            golden.add(f"propagate {reduce}{', weighted' if weighted else ''}", tensors, kind="propagate", reduce=reduce)


def softmaxes():
    for index, shape in enumerate([(60,), (60, 1), (60, 5)]):
        edges, scores = graph(600 + index, 9, 60, 3), normal((600 + index, 0), *shape) * 4
        target = torch.from_numpy(edges[1]).long()
        output = softmax(torch.from_numpy(scores).double(), target, num_nodes=9)
        tensors = {"scores": scores, "edges": edges.astype(np.float32), "output": output.numpy()}
        golden.add(f"softmax {shape}", tensors, kind="softmax")


def add_gradients(name, output, inputs, parameters=(), **description):
    """Adds a case with the gradients of the sum of the output times random numbers."""
    gradient = normal((901, len(gradients.cases)), *output.shape)
    named = {f"in.{key}": value for key, value in inputs.items()} | {f"state.{key}": value for key, value in parameters}
    found = torch.autograd.grad(output, list(named.values()), torch.from_numpy(gradient).double())
    tensors = {key: value.detach().numpy() for key, value in named.items()}
    tensors |= {f"grad.{key}": value.numpy() for key, value in zip(named, found)}
    gradients.add(name, tensors | {"output": output.detach().numpy(), "gradient": gradient}, kind="gradient", **description)


def leaf(*seed_and_shape):
    return torch.from_numpy(normal(*seed_and_shape)).double().requires_grad_()


def layer_gradients(kind, options, nodes, edges, weighted=False):
    """Gradients of a layer with random parameters, over one node set or between two."""
    seed = 1000 + len(gradients.cases)
    pair = isinstance(nodes, tuple)
    inputs = (6, 4) if pair and seed % 2 else 6
    arguments = {"in_channels": inputs, "out_channels": 3, **options}
    module, described = made(kind, seed, arguments)
    module = module.double()
    with torch.no_grad():
        for index, parameter in enumerate(module.parameters()):
            parameter.copy_(torch.from_numpy(normal((seed, 10 + index), *parameter.shape)) / 2)
    if pair:
        random = np.random.default_rng((seed, 7))
        index = np.stack([random.integers(0, count, edges) for count in nodes])
        index[:, :3] = random.integers(0, min(nodes), 3)
        widths = inputs if isinstance(inputs, tuple) else (inputs, inputs)
        x = {"xSource": leaf((seed, 0), nodes[0], widths[0]), "xTarget": leaf((seed, 1), nodes[1], widths[1])}
        call = {"x": tuple(x.values())}
    else:
        # Of equal self-loops the last weight counts, but PyTorch's index_put gives its gradient to all of them.
        index, x = graph(seed, nodes, edges, 1 if weighted else 3), {"x": leaf((seed, 0), nodes, inputs)}
        call = dict(x)
    call["edge_index"] = torch.from_numpy(index).long()
    if "edge_dim" in options:
        call["edge_attr"] = x["edgeAttr"] = leaf((seed, 2), edges, options["edge_dim"])
    if weighted:
        x["edgeWeight"] = leaf((seed, 2), edges).detach().abs().requires_grad_()
        call["edge_weight"] = x["edgeWeight"]
    name = f"{title(kind, options)}, {nodes} nodes{', weighted' if weighted else ''}"
    counts = list(nodes) if pair else [nodes]
    add_gradients(name, module(**call), x, module.named_parameters(), edges=index.tolist(), nodes=counts, **described)


def all_gradients():
    for kind, options in OPTIONS:
        layer_gradients(kind, options, 8, 20)
    for kind, options in PAIRS:
        layer_gradients(kind, options, (9, 6), 18)
    for options in ({}, {"add_self_loops": False}, {"improved": True}, {"normalize": False}):
        layer_gradients(GCNConv, options, 8, 20, weighted=True)
    for index, reduce in enumerate(("sum", "mean", "max", "min")):
        for weighted in (False, True):
            edges, x = graph(800 + index, 7, 20, 3), leaf((800 + index, 0), 7, 5)
            inputs = {"x": x} | ({"edgeWeight": leaf((800 + index, 1), 20)} if weighted else {})
            output = SimpleConv(aggr=reduce)(x, torch.from_numpy(edges).long(), inputs.get("edgeWeight"))
            name = f"propagate {reduce}{', weighted' if weighted else ''}"
            add_gradients(name, output, inputs, edges=edges.tolist(), nodes=[7], target="propagate", options={"reduce": reduce})
    for shape in ((20,), (20, 3)):
        edges, scores = graph(820, 7, 20, 3), leaf((820, 0), *shape)
        output = softmax(scores, torch.from_numpy(edges[1]).long(), num_nodes=7)
        add_gradients(f"edgeSoftmax {shape}", output, {"scores": scores}, edges=edges.tolist(), nodes=[7], target="edgeSoftmax")


if __name__ == "__main__":
    for part in (initial, layers, pairs, heterogeneous, messages, softmaxes, all_gradients):
        part()
    golden.write()
    gradients.write()
