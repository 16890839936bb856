"""torch.nn.TransformerDecoderLayer with small random weights, masked and padded: torch-decoder.safetensors."""

import torch

from golden import Golden, normal

golden = Golden("torch-decoder", f"torch {torch.__version__}")

SIZE, HEADS, INNER, BATCH, LENGTH, CONTEXT = 16, 4, 24, 2, 7, 5


def randomize(module, seed):
    """Draws every parameter: matrices that keep the magnitude of values, norms and biases around their initial value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() > 1:
                parameter.copy_(noise / parameter.shape[-1] ** 0.5)
            else:
                parameter.copy_(parameter.clamp(0, 1).round() + 0.3 * noise)


def arrays(state):
    return {name: tensor.detach().numpy() for name, tensor in state.items()}


def state_of(layer):
    return {f"state.{name}": tensor.detach().numpy() for name, tensor in layer.state_dict().items()}


def layers():
    for index, (norm_first, bias) in enumerate([(False, True), (True, True), (True, False)]):
        layer = torch.nn.TransformerDecoderLayer(
            SIZE, HEADS, INNER, activation="gelu", batch_first=True, norm_first=norm_first, bias=bias
        ).eval()
        randomize(layer, 300 + index)
        x = torch.from_numpy(normal(310 + index, BATCH, LENGTH, SIZE))
        context = torch.from_numpy(normal(320 + index, BATCH, CONTEXT, SIZE))
        lengths = torch.tensor([CONTEXT, 3])
        with torch.no_grad():
            output = layer(
                x,
                context,
                tgt_mask=torch.nn.Transformer.generate_square_subsequent_mask(LENGTH),
                memory_key_padding_mask=torch.arange(CONTEXT) >= lengths[:, None],
                tgt_is_causal=True,
            )
        config = {"modelDim": SIZE, "numHeads": HEADS, "feedForwardDim": INNER, "activation": "gelu"}
        config |= {"normFirst": norm_first, "useBias": bias}
        tensors = {"x": x.numpy(), "context": context.numpy(), "output": output.numpy()}
        name = f"norm {'first' if norm_first else 'last'}, {'with' if bias else 'no'} biases"
        golden.add(name, {**tensors, **state_of(layer)}, kind="layer", config=config, contextLengths=lengths.tolist())
    torch.manual_seed(7)
    layer = torch.nn.TransformerDecoderLayer(8, 2, 6, batch_first=True)
    config = {"modelDim": 8, "numHeads": 2, "feedForwardDim": 6, "seed": 7}
    golden.add("initial", state_of(layer), kind="initial", config=config, order=list(layer.state_dict()))


if __name__ == "__main__":
    layers()
    golden.write()
