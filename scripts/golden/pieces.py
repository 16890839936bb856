"""Writes torch-pieces.safetensors: small functions of PyTorch in float64, and layers drawn from seeds."""

import torch

from golden import Golden, normal


def main():
    golden = Golden("torch-pieces", f"PyTorch {torch.__version__.split('+')[0]}")
    x = torch.from_numpy(normal(1, 5, 7)).double() * 4
    for name, function in [
        ("relu", torch.relu),
        ("tanh", torch.tanh),
        ("sigmoid", torch.sigmoid),
        ("elu", torch.nn.functional.elu),
    ]:
        golden.add(name, {"x": x.float(), "output": function(x.float().double()).numpy()}, kind="activation")

    for name, shape, options in [
        ("patches", (2, 3, 8, 6), {"kernel": 2, "stride": 2}),
        ("overlapping patches with padding", (1, 2, 5, 7), {"kernel": [3, 2], "stride": [2, 1], "padding": [1, 0]}),
    ]:
        image = torch.from_numpy(normal(len(golden.cases), *shape))
        names = {"kernel": "kernel_size", "stride": "stride", "padding": "padding"}
        rows = torch.nn.functional.unfold(image, **{names[key]: value for key, value in options.items()})
        golden.add(name, {"x": image.numpy(), "output": rows.transpose(1, 2).numpy()}, kind="unfold", options=options)

    for bias in (True, False):
        torch.manual_seed(7)
        layer = torch.nn.Linear(5, 3, bias=bias)
        state = {key: value.detach().numpy() for key, value in layer.state_dict().items()}
        config = {"inFeatures": 5, "outFeatures": 3, "useBias": bias, "seed": 7}
        golden.add(f"Linear, bias {bias}", state, kind="Linear", config=config)

    for rows, columns in [(3, 3), (4, 4), (7, 5), (40, 24)]:
        torch.manual_seed(rows)
        weight = torch.nn.Embedding(rows, columns).weight.detach().numpy()
        config = {"numEmbeddings": rows, "embeddingDim": columns, "seed": rows}
        golden.add(f"Embedding [{rows}, {columns}]", {"weight": weight}, kind="Embedding", config=config)
    golden.write()


if __name__ == "__main__":
    main()
