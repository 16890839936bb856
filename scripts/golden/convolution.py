"""Writes onnx-convolution.safetensors: ONNX's operator CausalConvWithState (opset 27) in float64, in this package's terms."""

from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from golden import Golden, normal

INPUTS = ("x", "weight", "bias", "state")


def evaluate(tensors, activation):
    """The operator's output and its new state."""
    names = [name if name in tensors else "" for name in INPUTS]
    node = helper.make_node("CausalConvWithState", names, ["output", "new_state"], activation=activation)
    inputs = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, None) for name in tensors]
    outputs = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, None) for name in ("output", "new_state")]
    graph = helper.make_graph([node], "convolution", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 27)])
    return ReferenceEvaluator(model).run(None, {name: array.astype("float64") for name, array in tensors.items()})


def add(golden, name, sizes, *, given=(), activation="none"):
    """`sizes` are B, C, L and K; `given` names the optional tensors."""
    batch, channels, length, size = sizes
    shapes = {
        "x": (batch, channels, length),
        "weight": (channels, 1, size),
        "bias": (channels,),
        "state": (batch, channels, size - 1),
    }
    seed = 10 * len(golden.cases)
    tensors = {
        key: normal(seed + place, *shape)
        for place, (key, shape) in enumerate(shapes.items())
        if key in ("x", "weight", *given)
    }
    output, new_state = evaluate(tensors, activation)
    golden.add(name, {**tensors, "output": output, "newState": new_state}, activation=activation)


def main():
    golden = Golden("onnx-convolution", "CausalConvWithState, opset 27, of ONNX's reference implementation in float64")
    add(golden, "a kernel of four", (2, 3, 9, 4))
    add(golden, "with bias", (1, 5, 17, 4), given=("bias",))
    add(golden, "with a state", (2, 4, 11, 3), given=("state",))
    add(golden, "everything, with silu", (2, 6, 33, 4), given=("bias", "state"), activation="silu")
    add(golden, "one position", (3, 7, 1, 4), given=("bias", "state"), activation="silu")
    add(golden, "fewer positions than the state keeps", (1, 2, 2, 6), given=("state",))
    add(golden, "a kernel of one", (2, 3, 5, 1), given=("bias",))
    add(golden, "a kernel longer than the sequence", (1, 3, 4, 9), activation="silu")
    golden.write()


if __name__ == "__main__":
    main()
