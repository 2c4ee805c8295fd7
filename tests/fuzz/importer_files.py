"""Files of public collections with errors in them are read, or refused with their name."""

import pickle

import numpy as np
from formats import pickled, torch_bytes
from text_formats import small_files

from latprof.datasets.importers.files.plain_pickle import read_pickle
from latprof.datasets.importers.files.torch_files import read_torch_file
from latprof.errors import DataSetError, UnknownNameError
from tests.fuzz.outcomes import BAD

READ, REFUSED = "read", "refused"
VALUE = {
    "arch": [{"ks": [3, 5], "r": np.int64(224)}, {"ks": [7], "r": np.float64(2.5)}],
    "array": np.arange(4.0),
    "text": ["a" * 20] * 3,
}
NESTED = [[1, (2, 3)], {}, [], (), {"a": {"b": [()]}}, {3: 1, 2.5: 2}]
PICKLES = (pickled(VALUE), pickled(VALUE, protocol=4), pickle.dumps(NESTED, protocol=0))


def change(generator, data, kinds=3):
    """Change, remove or (of three kinds) repeat some bytes."""
    changed = bytearray(data)
    for _ in range(generator.integers(1, 4)):
        if not changed:
            break
        at = int(generator.integers(len(changed)))
        kind = generator.integers(kinds)
        if kind == 0:
            changed[at] = generator.integers(256)
        elif kind == 1:
            del changed[at : at + int(generator.integers(1, 9))]
        else:
            changed[at:at] = changed[int(generator.integers(len(changed))) :][:6]
    return bytes(changed)


def judge(load, name):
    """Whether an input is read, or refused by its name."""
    try:
        load()
    except UnknownNameError:  # a column's name was changed
        return REFUSED, ""
    except DataSetError as error:
        return (REFUSED, "") if name in str(error) else (BAD, f"without its name: {error}")
    except Exception as error:
        return BAD, repr(error)[:300]
    return READ, ""


def fuzz_pickles(numbers, seed, _folder):
    for number in numbers:
        generator = np.random.default_rng([seed, number])
        data = change(generator, PICKLES[number % len(PICKLES)])
        outcome, detail = judge(lambda data=data: read_pickle("the pickle", data), "the pickle")
        yield "pickles", outcome, detail and f"{number}: {detail}"


def fuzz_torch_files(numbers, seed, folder):
    whole = torch_bytes(PICKLES[0])
    path = folder / "changed.pt"
    for number in numbers:
        generator = np.random.default_rng([seed, number])
        data = bytearray(whole)
        for _ in range(generator.integers(1, 5)):
            data[int(generator.integers(len(data)))] = generator.integers(256)
        end = int(generator.integers(len(data))) if generator.integers(2) else len(data)
        path.write_bytes(data[:end])
        outcome, detail = judge(lambda: read_torch_file(path), path.name)
        yield "torch files", outcome, detail and f"{number}: {detail}"


def fuzz_text_files(numbers, seed, folder):
    files = [(path, load, path.read_bytes()) for path, load in small_files(folder)]
    for path, load, _ in files:
        load(path)
    for number in numbers:
        path, load, whole = files[number % len(files)]
        path.write_bytes(change(np.random.default_rng([seed, number]), whole, kinds=2))
        outcome, detail = judge(lambda load=load, path=path: load(path), path.name)
        yield path.name, outcome, detail and f"{number}: {detail}"
