"""Pickles and files of torch.save are read without running them, and none of them hurts."""

import collections
import io
import json
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
from formats import pickled, torch_bytes

from latprof.datasets.importers.files import plain_pickle
from latprof.datasets.importers.files.plain_pickle import read_pickle
from latprof.datasets.importers.files.torch_files import read_torch_file
from latprof.errors import DataSetError

PLAIN = {
    "dataset": "imagenet",
    "text": "µs, 試験",
    "numbers": [0, -1, 255, 65535, 2**40, -(2**62), 1.5, float("inf"), True, False, None],
    "nested": [[1, (2, 3)], {}, [], (), {"a": {"b": [()]}}, {3: 1, 2.5: 2}],
    "many": list(range(3000)),
}


def as_json(value):
    """Tuples as lists, and the keys of dictionaries as text."""
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_comes_out_as_it_was(protocol):
    found = read_pickle("it", pickle.dumps(PLAIN, protocol=protocol))
    assert found == as_json(PLAIN)
    assert list(map(type, found["numbers"])) == list(map(type, PLAIN["numbers"]))


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_numbers_and_arrays_of_numpy_come_out_as_python_numbers(protocol, old):
    values = {}
    for name in ("f8", ">f8", "f4", "i8", ">i4", "u1", "i2", "bool"):
        array = np.array([0, 1, 1, 0, 1], dtype=name)
        fixed = array.copy()
        fixed.flags.writeable = False  # protocol 5 writes bytes of another kind
        arrays = {"array": array, "empty": array[:0], "fixed": fixed, "steps": array[::-1]}
        values[name] = {"scalars": list(array), **arrays}
    read = read_pickle("it", pickled(values, old_numpy=old, protocol=protocol))
    assert read.keys() == values.keys()
    for name, found in read.items():
        expected = np.array([0, 1, 1, 0, 1], dtype=name).tolist()
        assert found["scalars"] == expected, name
        assert [type(x) for x in found["scalars"]] == [type(x) for x in expected], name
        assert found["array"] == found["fixed"] == found["steps"][::-1] == expected, name
        assert found["empty"] == [], name


def test_numbers_of_numpy_that_python_2_wrote():
    """Its text is bytes, and so are the bytes of numbers."""
    begin = b"\x80\x02cnumpy.core.multiarray\n"
    dtype = (
        b"cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    raw = b"U\x08" + struct.pack("<d", 12.5)
    scalar = begin + b"scalar\n" + dtype + raw + b"\x86R."
    made = b"_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    array = begin + made + b"(K\x01K\x01\x85" + dtype + b"\x89" + raw + b"tb."
    assert read_pickle("it", scalar) == 12.5
    assert read_pickle("it", array) == [12.5]


def test_keys_that_are_tuples_of_whole_numbers_are_text():
    value = {(4, 0, -3): np.float64(0.5), (np.int64(1),): None}
    assert read_pickle("it", pickled(value)) == {"4,0,-3": 0.5, "1": None}


def test_arrays_of_objects_and_ordered_dictionaries():
    value = collections.OrderedDict(config=np.array([{"C": 16}, None], dtype=object))
    assert read_pickle("it", pickled(value)) == {"config": [{"C": 16}, None]}


class Call:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "value",
    [
        Call(os.system, "touch owned"),
        [Call(eval, "open('owned', 'w')")],
        {"a": Call(getattr, "text", "upper")},
        Call(np.load, "owned"),
        np.dtype("f8"),
        collections.OrderedDict,
        np.array([[1.0, 2.0]]),
        np.array(["text"]),
        np.array([1 + 2j]),
        {("a", 2): 3},
        {(): 3},
        {(1, 2): 3, "a": 4},
        {(1, 2): 3, "1,2": 4},
        {"a": {(1, 2): 3}},
        {1, 2},
        b"\x00\xff",
        Exception("no"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_what_is_not_plain_data_is_refused_and_never_run(value, protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataSetError, match="it cannot be read: "):
        read_pickle("it", pickle.dumps(value, protocol=protocol))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "data",
    [b"\x80\x02X\x07\x00\x00\x00storageQ.", b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n."],
)
def test_tensors_are_said_to_be_not_supported(data):
    with pytest.raises(DataSetError, match="tensors, which are not supported"):
        read_pickle("it", data)


def doubled(times):
    """A tuple that holds itself twice, so many times over: short here, endless to walk."""
    return b"\x80\x02)" + b"".join(b"q%cN0h%c" % (i % 256, i % 256) + b"\x86" for i in range(times))


BOMBS = {
    "a memo of 4 GiB": b"\x80\x02]r\xff\xff\xff\xff.",
    "a text of 4 GiB": b"\x80\x02X\xff\xff\xff\xffabc.",
    "bytes of 2^63": b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7fabc.",
    "a frame of 2^63": b"\x80\x04\x95" + b"\xff" * 7 + b"\x7f.",
    "a number of 256 MiB": b"\x80\x02\x8b\x00\x00\x00\x10abc.",
    "an empty tuple as a key": doubled(200) + b"}h\x00K\x01s.",
    "a tuple as a key, endless to hash": b"\x80\x02}" + doubled(200)[2:] + b"K\x01s.",
    "a tuple as a byte order": b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00f8\x85R"
    b"(" + doubled(60)[2:] + b"1.",
    "lists in lists": b"\x80\x02" + b"]" * 3_000_000 + b"a" * 2_999_999 + b".",
    "marks only": b"\x80\x02" + b"(" * 3_000_000 + b".",
    "one list taken again and again": b"\x80\x02]q\x00" + b"h\x000" * 2_000_000,
    "an endless line": b"\x80\x02V" + b"a" * 1_000_000,
    "digits": b"\x80\x02I" + b"9" * 5000 + b"\n.",
    "a list taken 2^40 times over": doubled(40) + b".",
    "a bytearray of 2^40": b"\x80\x05\x96" + b"\x00" * 5 + b"\x01\x00\x00.",
    "an array of more than there is": pickled(np.zeros(4)).replace(b"K\x04\x85", b"M\xff\xff\x85"),
}


@pytest.fixture
def _little(monkeypatch):
    """Little processor time and memory: some bombs would take any amount of them."""
    monkeypatch.setattr(plain_pickle, "CPU_S", 1)
    monkeypatch.setattr(plain_pickle, "MEMORY_BYTES", 128 << 20)


@pytest.mark.usefixtures("_little")
@pytest.mark.parametrize("name", BOMBS)
def test_small_files_that_ask_for_much_are_refused(name):
    with pytest.raises(DataSetError, match="it cannot be read: "):
        read_pickle("it", BOMBS[name])


@pytest.mark.usefixtures("_little")
def test_plain_data_needs_little():
    assert read_pickle("it", pickle.dumps(PLAIN)) == as_json(PLAIN)


def test_the_reader_opens_no_file_and_imports_nothing_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("json", "struct", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text("open('owned', 'w')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert read_pickle("it", pickle.dumps([1])) == [1]
    assert not (tmp_path / "owned").exists()


def test_a_file_of_torch(tmp_path):
    path = tmp_path / "a.pt"
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        path.write_bytes(torch_bytes(pickled(PLAIN["nested"]), compression=compression))
        assert read_torch_file(path) == as_json(PLAIN["nested"])


def zip_of_zeros(size):
    """A zip file that unpacks to ``size`` zeros; 1000 times smaller itself."""
    return torch_bytes(bytes(size), compression=zipfile.ZIP_DEFLATED)


def zip_that_lies():
    """The same, but stating that it unpacks to 5 bytes."""
    data = bytearray(zip_of_zeros(80 << 20))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.index(signature)
        data[at + offset : at + offset + 4] = struct.pack("<I", 5)
    return bytes(data)


def many_members():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(100):
            archive.writestr(f"{number}/data.pkl", b"N.")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: b"", "is empty"),
        (lambda: b"hello", "not a file of torch.save"),
        (lambda: pickle.dumps([1]), "not a file of torch.save"),
        (lambda: torch_bytes(b"N.", name="other"), "holds 0 pickles"),
        (lambda: torch_bytes(b"N.")[:-30], "damaged|not a file"),
        (lambda: zip_of_zeros(80 << 20), "unpacks to too much"),
        (zip_that_lies, "damaged|too much|cannot be read"),
        (many_members, "not a file of torch.save"),
        (lambda: torch_bytes(b"N.", compression=zipfile.ZIP_BZIP2), "packed in a way"),
    ],
)
def test_files_that_are_no_file_of_torch(make, words, tmp_path):
    path = tmp_path / "bad.pt"
    path.write_bytes(make())
    with pytest.raises(DataSetError, match=words) as caught:
        read_torch_file(path)
    assert "bad.pt" in str(caught.value)


def test_what_is_no_plain_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.pt")
    for path in (tmp_path / "pipe.pt", tmp_path, tmp_path / "none.pt", "/dev/zero", "a\0b"):
        with pytest.raises(DataSetError):
            read_torch_file(path)


def test_a_wrong_checksum_is_noticed(tmp_path):
    data = bytearray(torch_bytes(pickled([1, 2, 3])))
    at = data.index(b"K\x02")
    data[at + 1] = 9
    path = tmp_path / "a.pt"
    path.write_bytes(data)
    with pytest.raises(DataSetError, match="damaged"):
        read_torch_file(path)


def test_what_is_small_in_a_pickle_and_huge_in_memory_is_refused():
    """One list may stand in a pickle many times, and takes memory each time it is read."""
    row = [[]] * 1000
    data = pickle.dumps([row] * 10_001)
    assert len(data) < 100_000
    with pytest.raises(DataSetError, match="holds too much"):
        read_pickle("it", data)
