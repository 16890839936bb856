"""Writes onnx-linear-attention.safetensors: ONNX's node tests of the operator LinearAttention (opset 27), and longer
sequences through the operator's reference implementation."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases
from onnx.reference import ReferenceEvaluator

from golden import Golden, normal

# The operator's inputs and outputs in this package's terms.
INPUTS = {"query": "q", "key": "k", "value": "v", "past_state": "state", "decay": "decay", "beta": "beta"}
OUTPUTS = ("output", "newState")


def config(node, size):
    """The configuration that a node's attributes describe; `size` is the last dimension of the queries."""
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    found = {
        "modelDim": size,
        "numHeads": attributes["q_num_heads"],
        "kvHeads": attributes["kv_num_heads"],
        "rule": attributes.get("update_rule", b"gated_delta").decode(),
    }
    # 0 stands for the default.
    return found | ({"scale": attributes["scale"]} if attributes.get("scale") else {})


def add_node_tests(golden):
    for case in collect_testcases("LinearAttention"):
        node = case.model.graph.node[0]
        # The operator is a function, so there is a second test of its body.
        if node.op_type != "LinearAttention":
            continue
        names = [name for name in node.input if name]
        ((inputs, outputs),) = case.data_sets
        tensors = {INPUTS[name]: numpy_helper.to_array(value) if not isinstance(value, np.ndarray) else value for name, value in zip(names, inputs)}
        results = dict(zip(OUTPUTS, outputs))
        is_half = tensors["q"].dtype == np.float16
        every = {name: np.asarray(array, dtype=np.float32) for name, array in (tensors | results).items()}
        tolerance = 1e-3 if is_half else 2e-6
        golden.add(case.name, every, config=config(node, tensors["q"].shape[-1]), tolerance=tolerance)


def add_long(golden, name, rule, sizes, *, by_row=False):
    """`sizes` are B, T, H, G, D and E."""
    batch, length, heads, kv_heads, size, value_dim = sizes
    seed = 1000 + 10 * len(golden.cases)
    keys = normal(seed, batch, length, kv_heads, size)
    keys /= np.linalg.norm(keys, axis=-1, keepdims=True)
    tensors = {
        "q": normal(seed + 1, batch, length, heads * size),
        "k": keys.reshape(batch, length, kv_heads * size),
        "v": normal(seed + 2, batch, length, kv_heads * value_dim),
        "state": 0.3 * normal(seed + 3, batch, kv_heads, size, value_dim),
    }
    if "gated" in rule:
        tensors["decay"] = -0.1 * np.abs(normal(seed + 4, batch, length, kv_heads * (size if by_row else 1)))
    if "delta" in rule:
        tensors["beta"] = np.random.default_rng(seed + 5).random((batch, length, kv_heads), dtype=np.float32)
    places = ("query", "key", "value", "past_state", "decay", "beta")
    node = helper.make_node(
        "LinearAttention",
        [place if INPUTS[place] in tensors else "" for place in places],
        ["output", "present_state"],
        update_rule=rule,
        q_num_heads=heads,
        kv_num_heads=kv_heads,
    )
    given = {place: tensors[INPUTS[place]] for place in places if INPUTS[place] in tensors}
    inputs = [helper.make_tensor_value_info(place, TensorProto.FLOAT, None) for place in given]
    outputs = [helper.make_tensor_value_info(place, TensorProto.FLOAT, None) for place in ("output", "present_state")]
    graph = helper.make_graph([node], "attention", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 27)])
    results = ReferenceEvaluator(model).run(None, given)
    golden.add(
        name, tensors | dict(zip(OUTPUTS, results)), config=config(node, heads * size), tolerance=1e-5
    )


def main():
    golden = Golden("onnx-linear-attention", "LinearAttention, opset 27, of ONNX's reference implementation")
    add_node_tests(golden)
    add_long(golden, "linear, 150 positions", "linear", (1, 150, 2, 1, 8, 12))
    add_long(golden, "gated by head, 150 positions", "gated", (1, 150, 2, 2, 8, 8))
    add_long(golden, "gated by row, 150 positions", "gated", (1, 150, 2, 1, 8, 17), by_row=True)
    add_long(golden, "delta, 150 positions", "delta", (2, 150, 2, 1, 8, 5))
    add_long(golden, "gated delta by head, 150 positions", "gated_delta", (1, 150, 2, 1, 16, 20))
    add_long(golden, "gated delta by row, 150 positions", "gated_delta", (1, 150, 2, 2, 9, 7), by_row=True)
    golden.write()


if __name__ == "__main__":
    main()
