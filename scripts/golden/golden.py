"""Shared by the generators: seeded inputs, and safetensors files that describe their cases.

A golden file holds tensors named `<case>/<tensor>` and one metadata entry, `golden`: the JSON
`{ "reference": ..., "cases": [{ "name": ..., ... }] }`. One entry only, since the order of several is not fixed.
"""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "__test__" / "golden"


class Golden:
    """Collects the cases of one file."""

    def __init__(self, name, reference):
        self.path = FOLDER / f"{name}.safetensors"
        self.reference = reference
        self.cases = []
        self.tensors = {}

    def add(self, name, tensors, **description):
        """Adds a case; None tensors are omitted, float64 tensors are rounded to float32."""
        assert all(case["name"] != name for case in self.cases), f"two cases are called {name}"
        for key, value in tensors.items():
            if value is None:
                continue
            array = np.asarray(value)
            if array.dtype == np.float64:
                array = array.astype(np.float32)
            self.tensors[f"{name}/{key}"] = np.ascontiguousarray(array)
        self.cases.append({"name": name, **description})

    def write(self):
        description = json.dumps({"reference": self.reference, "cases": self.cases}, separators=(",", ":"))
        save_file(self.tensors, self.path, metadata={"golden": description})
        print(f"{self.path.relative_to(ROOT)}: {len(self.cases)} cases, {self.path.stat().st_size} bytes")


def normal(seed, *shape):
    """N(0, 1) in float32; a case's inputs depend on its own seed only."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
