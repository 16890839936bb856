"""Writes gguf-q8_0.safetensors: groups quantized by the reference implementation of GGUF's Q8_0."""

import numpy as np
from gguf.quants import Q8_0

from golden import Golden, normal


def main():
    golden = Golden("gguf-q8_0", "Q8_0.quantize of PyPI's gguf")
    sizes = 10.0 ** np.arange(-9, 7)
    x = (normal(1, 16, 64) * sizes[:, None]).astype(np.float32)
    # Halves, in units of the scale, and a group of zeros.
    x[0, :32] = (np.arange(32) - 16 + 0.5) * 2
    x[0, 0] = 127 * 2
    x[1, 32:] = 0
    blocks = Q8_0.quantize(x).reshape(16, 2, 34)
    scales = blocks[:, :, :2].copy().view(np.uint16).reshape(16, 2)
    values = blocks[:, :, 2:].view(np.int8).reshape(16, 64)
    golden.add("rows of every size", {"x": x, "values": values.astype(np.float32), "scales": scales})
    golden.write()


if __name__ == "__main__":
    main()
