"""PyTorch's side of the benchmark: reads a case and its tensors from standard input, then times it on request."""

import json
import sys
import time

import torch
import torch.nn.functional as F

try:
    import torch_geometric.nn
except ImportError:
    torch_geometric = None

try:
    import transformers
    from transformers.models.qwen3_next.modeling_qwen3_next import torch_chunk_gated_delta_rule
except ImportError:
    transformers = None

DTYPES = {"f32": torch.float32, "u8": torch.uint8, "i32": torch.int32}


def read_tensors(descriptions):
    tensors = {}
    for name, description in descriptions.items():
        bytes_read = bytearray(sys.stdin.buffer.read(description["bytes"]))
        flat = torch.frombuffer(bytes_read, dtype=DTYPES[description["dtype"]])
        tensors[name] = flat.reshape(description["shape"])
    return tensors


def attention(case, tensors):
    mask = tensors.get("mask")
    if mask is not None and mask.dtype == torch.uint8:
        mask = mask.bool()
    options = {"attn_mask": mask, "is_causal": case["causal"], "enable_gqa": case["kvHeads"] != case["heads"]}
    q, k, v = tensors["q"], tensors["k"], tensors["v"]
    return lambda: F.scaled_dot_product_attention(q, k, v, **options)


def layer(case, tensors):
    module = torch.nn.MultiheadAttention(case["heads"] * case["dim"], case["heads"], batch_first=True).eval()
    module.load_state_dict({name[6:]: tensor for name, tensor in tensors.items() if name.startswith("state.")})
    x = tensors["x"]
    return lambda: module(x, x, x, need_weights=False)[0]


def encoder(case, tensors):
    size = case["heads"] * case["dim"]
    module = torch.nn.TransformerEncoderLayer(size, case["heads"], 4 * size, activation="gelu", batch_first=True).eval()
    module.load_state_dict({name[6:]: tensor for name, tensor in tensors.items() if name.startswith("state.")})
    x = tensors["x"]
    return lambda: module(x)


def graph(case, tensors):
    kind = {1: torch_geometric.nn.GATConv, 2: torch_geometric.nn.GATv2Conv}[case["version"]]
    module = kind(case["heads"] * case["dim"], case["dim"], heads=case["heads"]).eval()
    module.load_state_dict({name[6:]: tensor for name, tensor in tensors.items() if name.startswith("state.")})
    x, edges = tensors["x"], torch.stack([tensors["source"], tensors["target"]]).long()
    return lambda: module(x, edges)


def recurrent(case, tensors):
    # Its tensors are [B, L, H, D].
    q, k, v, decay, beta = (tensors[name].transpose(1, 2) for name in ("q", "k", "v", "decay", "beta"))
    return lambda: torch_chunk_gated_delta_rule(q, k, v, decay, beta)[0].transpose(1, 2)


def attention_gradients(case, tensors):
    q, k, v = (tensors[name].requires_grad_() for name in "qkv")

    def run():
        for tensor in (q, k, v):
            tensor.grad = None
        F.scaled_dot_product_attention(q, k, v).backward(tensors["gradient"])
        return q.grad

    return run


def graph_gradients(case, tensors):
    forward = graph(case, tensors)
    x = tensors["x"].requires_grad_()

    def run():
        x.grad = None
        forward().backward(tensors["gradient"])
        return x.grad

    return run


KINDS = {
    "attention": attention,
    "attention-gradients": attention_gradients,
    "layer": layer,
    "encoder": encoder,
    "graph": graph,
    "graph-gradients": graph_gradients,
    "recurrent": recurrent,
}


def answer(fields):
    sys.stdout.buffer.write((json.dumps(fields) + "\n").encode())


def main():
    versions = {"PyTorch Geometric": torch_geometric, "transformers": transformers}
    answer({"PyTorch": torch.__version__} | {name: module and module.__version__ for name, module in versions.items()})
    sys.stdout.buffer.flush()
    run, inference = None, True
    while line := sys.stdin.buffer.readline():
        request = json.loads(line)
        try:
            if "case" in request:
                kind = request["case"]["kind"]
                torch.set_num_threads(request["case"]["threads"])
                inference = not kind.endswith("-gradients")
                with torch.inference_mode(inference):
                    run = KINDS[kind](request["case"], read_tensors(request["tensors"]))
                    output = run().contiguous().numpy().tobytes()
                answer({"bytes": len(output)})
                sys.stdout.buffer.write(output)
            else:
                with torch.inference_mode(inference):
                    start = time.perf_counter()
                    for _ in range(request["count"]):
                        run()
                    answer({"seconds": time.perf_counter() - start})
        except Exception as error:  # noqa: BLE001 - the other side shows it
            answer({"error": str(error)})
        sys.stdout.buffer.flush()


main()
