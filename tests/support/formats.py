"""Small files of the public formats, written here; and where the real ones are, if anywhere."""

import csv
import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

#: The collections themselves, beside the checkout where a developer keeps them.
PUBLIC = Path(__file__).resolve().parents[3] / "shared" / "data"

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


def public(*parts):
    """The path of a real file; skips the test where it is absent."""
    path = PUBLIC.joinpath(*parts)
    if not path.exists():
        pytest.skip("the public data is not here")
    return path


def pickled(value, *, old_numpy=True, protocol=2):
    """A pickle as torch.save makes it; by the module's name of NumPy 1 or of NumPy 2."""
    data = pickle.dumps(value, protocol=protocol)
    if not old_numpy:
        return data
    if data[2:3] == pickle.FRAME:  # a frame states its length, and need not be there
        data = data[:2] + data[11:]
    for module in ("multiarray", "numeric"):
        new, old = (_named(f"numpy.{core}.{module}", protocol) for core in ("_core", "core"))
        data = data.replace(new, old)
    return data


def _named(module, protocol):
    """How a pickle spells a module; later protocols state the length of the name."""
    return (bytes([len(module)]) if protocol >= 4 else b"") + module.encode()


def torch_bytes(data, *, name="archive/data.pkl", compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr(name, data)
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


def write_torch(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(torch_bytes(pickled(value)))
    return path


def cell(operations):
    """The string of a NAS-Bench-201 cell."""
    a, b, c, d, e, f = (OPERATIONS[operation] for operation in operations)
    return f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"


def all_cells():
    return np.array(list(np.ndindex((5,) * 6)))


def write_help(root, *, n=600, seed=0):
    """HELP's folder with ``n`` networks in each space; returns the choices by space."""
    generator = np.random.default_rng(seed)
    fbnet = generator.integers(0, 9, (n, 22))
    write_torch(root / "fbnet" / "arch.pt", fbnet.tolist())
    cells = all_cells()[generator.permutation(5**6)[:n]]
    # A dictionary need not be in the order of its numbers.
    index = {cell(cells[row]): int(row) for row in generator.permutation(n)}
    write_torch(root / "nasbench201" / "str_arch2idx.pt", index)
    archs = [
        {
            "ks": generator.choice([3, 5, 7], 20).tolist(),
            "e": generator.choice([3, 4, 6], 20).tolist(),
            "d": [np.int64(x) for x in generator.choice([2, 3, 4], 5)],
            "r": [np.int64(generator.choice(np.arange(128, 225, 4)))],
        }
        for _ in range(n)
    ]
    content = {"dataset": "imagenet", "num_classes": 1000, "arch": archs}
    write_torch(root / "ofa" / "ofa_archs.pt", content)
    return {"fbnet": fbnet, "nasbench201": cells, "ofa": archs}


def write_latency(root, space, device, values):
    return write_torch(root / space / "latency" / f"{device}.pt", list(values))


def write_csv(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def write_json(path, value):
    path.write_text(json.dumps(value))
    return path
