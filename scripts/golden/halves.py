"""Writes halves.safetensors: F16 and BF16 tensors from safetensors for Python, and their float32 values in PyTorch.

Covers every sign and exponent, with mantissas at both ends and in the middle: zeros of both signs, denormals,
infinities and NaNs.
"""

import json

import torch
from safetensors.torch import save_file

from golden import FOLDER, ROOT


def patterns(exponent_bits, mantissa_bits):
    top = 1 << mantissa_bits
    mantissas = sorted({0, 1, 2, top // 3, top // 2 - 1, top // 2, top // 2 + 1, top - 2, top - 1})
    bits = [sign << 15 | exponent << mantissa_bits | mantissa for sign in (0, 1) for exponent in range(1 << exponent_bits) for mantissa in mantissas]
    return torch.tensor(bits, dtype=torch.int32).to(torch.uint16)


def main():
    tensors = {}
    for name, dtype, layout in (("f16", torch.float16, (5, 10)), ("bf16", torch.bfloat16, (8, 7))):
        stored = patterns(*layout).view(dtype).reshape(2, -1)
        tensors[name] = stored
        tensors[f"{name}.widened"] = stored.float()
    tensors["f32"] = torch.tensor([0.0, -0.0, 1.0, -1.5, 2**-149, -(2**-126), 3.4028234663852886e38, torch.inf, -torch.inf, torch.nan])
    tensors["f16.none"] = torch.zeros(0, 3, dtype=torch.float16)
    tensors["bf16.scalar"] = torch.tensor(1.5, dtype=torch.bfloat16)
    path = FOLDER / "halves.safetensors"
    reference = f"safetensors for Python, PyTorch {torch.__version__.split('+')[0]}"
    save_file(tensors, path, metadata={"golden": json.dumps({"reference": reference, "cases": []}, separators=(",", ":"))})
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
