"""Writes onnx-attention.safetensors: ONNX's backend test cases of the operator Attention, in this package's terms.

The cases are licensed under Apache-2.0. They are converted as follows:
- 3-D inputs [B, L, heads·D] are reshaped to [B, L, heads, D], with `layout: 'blhd'`.
- past_key and past_value are prepended to K and V; `queryOffset` is their length.
- nonpad_kv_seqlen becomes kvLengths; for causal masks and windows, `queryOffset` is nonpad_kv_seqlen − L.
- An attn_mask shorter than the keys is padded with hidden keys, as the operator defines.
- qk_matmul_output_mode 0, 1, 2, 3 are the stages scores, softcapped, biased, weights.
- float16 and bfloat16 inputs are widened (exactly), and the expected outputs come from ONNX's reference on the widened
  inputs. This package computes in 32 bits, so the rounding of 16-bit floats would hide errors. softmax_precision is
  omitted for the same reason. present_key and present_value are not stored; the script checks that they are the
  concatenation.
Every Attention case of the backend tests can be converted this way; an unknown attribute ends this script.
"""

import warnings

import numpy as np
import onnx
from onnx import helper
from onnx.backend.test.case.node import collect_testcases
from onnx.reference.ops.op_attention import _compute_attention

from golden import Golden

INPUTS = ("Q", "K", "V", "attn_mask", "past_key", "past_value", "nonpad_kv_seqlen")
OUTPUTS = ("Y", "present_key", "present_value", "qk_matmul_output")
STAGES = ("scores", "softcapped", "biased", "weights")
KNOWN = {"q_num_heads", "kv_num_heads", "scale", "softcap", "is_causal", "qk_matmul_output_mode", "softmax_precision", "left_window_size", "right_window_size"}


def widened(array):
    return array.astype(np.float32) if array is not None and array.dtype.name in ("float16", "bfloat16") else array


def read(case):
    """A case's attributes, inputs and expected outputs, by the operator's names."""
    (node,) = case.model.graph.node
    ((arrays, expected),) = case.data_sets
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    assert set(attributes) <= KNOWN, (case.name, attributes)
    given, wanted = iter(arrays), iter(expected)
    inputs = {name: next(given) for name, used in zip(INPUTS, node.input) if used}
    outputs = {name: next(wanted) for name, used in zip(OUTPUTS, node.output) if used}
    if any(array.dtype.name in ("float16", "bfloat16") for array in inputs.values()):
        inputs = {name: widened(array) for name, array in inputs.items()}
        # softmax_precision requests a float32 softmax for half inputs; 32-bit inputs get it anyway.
        kept = {name: value for name, value in attributes.items() if name != "softmax_precision"}
        again = _compute_attention(**inputs, **kept)
        for name, array in zip(OUTPUTS, again):
            if name in outputs:
                np.testing.assert_allclose(array, outputs[name].astype(np.float32), rtol=0.02, atol=0.02, err_msg=case.name)
                outputs[name] = array
    return attributes, inputs, outputs


def split_heads(array, heads):
    return array.reshape(*array.shape[:2], heads, -1)


def translate(case):
    attributes, inputs, outputs = read(case)
    q, k, v, mask = (inputs.get(name) for name in INPUTS[:4])
    options = {}
    axis = 2
    if q.ndim == 3:
        heads, groups = attributes["q_num_heads"], attributes["kv_num_heads"]
        q, k, v = split_heads(q, heads), split_heads(k, groups), split_heads(v, groups)
        outputs["Y"] = split_heads(outputs["Y"], heads)
        options["layout"] = "blhd"
        axis = 1
    length = q.shape[axis]

    offset = None
    if "past_key" in inputs:
        offset = inputs["past_key"].shape[2]
        past = [inputs[name] if axis == 2 else inputs[name].swapaxes(1, 2) for name in ("past_key", "past_value")]
        k, v = np.concatenate((past[0], k), axis), np.concatenate((past[1], v), axis)
        for name, array in (("present_key", k), ("present_value", v)):
            np.testing.assert_array_equal(outputs[name], array if axis == 2 else array.swapaxes(1, 2), err_msg=case.name)
    if "nonpad_kv_seqlen" in inputs:
        options["kvLengths"] = inputs["nonpad_kv_seqlen"].tolist()
        offset = [int(valid) - length for valid in options["kvLengths"]]

    windowed = [attributes.get(f"{side}_window_size") for side in ("left", "right")]
    if any(size is not None for size in windowed):
        options["window"] = [-1 if size is None else size for size in windowed]
    if attributes.get("is_causal"):
        options["causal"] = True
    if offset is not None and ("window" in options or "causal" in options):
        options["queryOffset"] = offset
    for name in ("scale", "softcap"):
        if name in attributes:
            options[name] = attributes[name]
    if mask is not None and mask.shape[-1] < k.shape[axis]:
        missing = [(0, 0)] * (mask.ndim - 1) + [(0, k.shape[axis] - mask.shape[-1])]
        mask = np.pad(mask, missing, constant_values=False if mask.dtype == np.bool_ else -np.inf)

    tensors = {"q": q, "k": k, "v": v, "mask": mask, "output": outputs["Y"]}
    if "qk_matmul_output" in outputs:
        tensors[f"stage.{STAGES[attributes.get('qk_matmul_output_mode', 0)]}"] = outputs["qk_matmul_output"]
    assert all(array is None or array.dtype in (np.float32, np.bool_) for array in tensors.values()), case.name
    return tensors, options


def main():
    opset = onnx.defs.get_schema("Attention").since_version
    golden = Golden("onnx-attention", f"onnx {onnx.__version__}, backend test cases of Attention up to opset {opset}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = [case for case in collect_testcases("Attention") if "_expanded" not in case.name]
    for case in cases:
        tensors, options = translate(case)
        golden.add(case.name.removeprefix("test_attention_"), tensors, options=options)
    golden.write()


if __name__ == "__main__":
    main()
