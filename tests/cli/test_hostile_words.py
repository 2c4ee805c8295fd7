"""Words on the command line that nobody should type: nothing secret, endless or unhandled."""

import os
import shutil
import subprocess
import sys

import onnx
import pytest
from command_line import COMMAND
from onnx import TensorProto, helper


def write_model(path, shape):
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", infos[:1], infos[1:])
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


PASSWORDS = [
    "postgresql://me:hush@more@h:x/db",
    "postgresql://me:hush@host:port/db",
    "postgresql:me:hush@h/db",
    "postgresql:/me:hush@h/db",
    "postgresql://me:hush",
    "postgresql://me:hu@hush@h/db",
    "postgresql:///me:hush@h/db",
    "postgresql+nodriver://me:hush@h/db",
    " postgresql://me:hush@h/db",
    "post gres://me:hush@h/db",
    "sqlite://me:hush@h/db",
    "://me:hush@h",
]
IN_MEMORY = [
    "sqlite://",
    "sqlite:///",
    "sqlite:///:memory:",
    "sqlite+pysqlite://",
    "sqlite+pysqlite:///:memory:",
    "sqlite:///file::memory:?uri=true",
    "sqlite:///file:x?mode=memory&cache=shared&uri=true",
    "sqlite:///file:x?vfs=memdb&uri=true",
    ":memory:",
    "file::memory:",
    "file:x?mode=memory",
]
#: For each command, words of which one is replaced by a hostile one.
CALLS = [
    ("collect", "{}", "--store", "x.db"),
    ("collect", "--space", "{}", "--store", "x.db"),
    ("collect", "--space", "proxyless", "-n", "1", "--target", "{}", "--store", "x.db"),
    ("collect", "--space", "proxyless", "-n", "1", "--plan", "{}", "--store", "x.db"),
    ("collect", "--space", "proxyless", "-n", "{}", "--store", "x.db"),
    ("profile", "{}"),
    ("compare", "{}", "{}"),
    ("export", "{}", "--csv", "x.csv"),
    ("datasets", "{}"),
    ("zoo", "{}"),
    ("collect", "--zoo", "{}", "--store", "x.db"),
    ("train", "{}", "-o", "x.pack"),
    ("train", "x.db", "-o", "x.pack", "--predictor", "{}"),
    ("train", "x.db", "-o", "x.pack", "--seed", "{}"),
    ("transfer", "x.db", "--from", "{}"),
    ("predict", "{}"),
    ("predict", "--pack", "{}", "1,2"),
    ("predict", "x.onnx", "--shape", "{}"),
    ("lookup-table", "{}"),
    ("search", "--pack", "proxyless-cpu-ort1", "--option", "a={}"),
    ("report", "{}"),
    ("predict", "--{}"),
    ("{}",),
]


@pytest.mark.parametrize("url", PASSWORDS)
@pytest.mark.parametrize(
    "call",
    [("export", "--csv", "x.csv"), ("report",), ("report", "a.db"), ("compare", "m.onnx")],
    ids=" ".join,
)
def test_no_malformed_url_prints_its_password(latprof, tmp_path, url, call):
    done = latprof(*call, url, cwd=tmp_path)
    assert done.returncode in {2, 3}
    assert "hu" not in done.stdout + done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("url", IN_MEMORY)
def test_a_store_in_memory_is_refused(latprof, tmp_path, url):
    model = write_model(tmp_path / "m.onnx", [1, 3, 8, 8])
    done = latprof("collect", model, "--store", url, "--visits", "1", cwd=tmp_path)
    assert (done.returncode, "lose every measurement" in done.stderr) == (2, True), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


LONG = ["[" * 100_000, "a" * 300_000, "\x1b[31m\udcff", "\u202e\U0001f600" * 1000]


@pytest.mark.parametrize("word", LONG, ids=str.__len__)
@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_a_hostile_word_is_refused_shortly(latprof, tmp_path, call, word):
    done = latprof(*(part.format(word) for part in call), cwd=tmp_path)
    assert done.returncode in {2, 3}, done.stderr[:1000]
    assert max(len(line.encode(errors="replace")) for line in done.stderr.splitlines()) <= 1000
    assert "Traceback" not in done.stderr
    assert "\x1b[31m" not in done.stderr


@pytest.mark.parametrize("command", ["collect", "profile", "compare"])
def test_a_model_to_measure_whose_name_is_no_utf_8_is_refused(latprof, tmp_path, command):
    name = os.fsdecode(b"m\xff.onnx")
    shutil.copy(write_model(tmp_path / "m.onnx", [1, 3, 8, 8]), tmp_path / name)
    rest = {"collect": ("--store", "x.db"), "compare": ("m.onnx",)}.get(command, ())
    done = latprof(command, name, *rest, cwd=tmp_path)
    assert (done.returncode, "not UTF-8" in done.stderr) == (3, True), done.stderr


def test_a_model_whose_name_is_no_utf_8_is_predicted(latprof, tmp_path):
    name = os.fsdecode(b"m\xff.onnx")
    shutil.copy(write_model(tmp_path / "m.onnx", [1, 3, 8, 8]), tmp_path / name)
    done = latprof("predict", name, cwd=tmp_path)
    assert (done.returncode, "m\\udcff.onnx" in done.stdout) == (0, True), done.stderr


@pytest.mark.parametrize("form", ["table", "csv", "md", "junit"])
def test_letters_that_the_terminal_lacks_are_escaped(tmp_path, form):
    name = "\U0001f600 \xe9.onnx"
    write_model(tmp_path / name, [1, 3, 8, 8])
    words = ("predict", name, "--format", form, "--fail-if", "> 5 ms")
    done = subprocess.run(
        [*COMMAND, *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    escaped = b"&#128512; &#233;" if form == "junit" else b"\\U0001f600 \xe9"
    assert escaped in done.stdout


def test_cells_that_begin_a_formula_are_text(tmp_path):
    pd = pytest.importorskip("pandas")
    from latprof.workflows.export import write_csv

    names = ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "plain"]
    write_csv(pd.DataFrame({"name": names, "ms": [-1.0] * 7}), tmp_path / "t.csv")
    read = pd.read_csv(tmp_path / "t.csv")
    assert all(str(cell)[0] == "'" for cell in read["name"][:6])
    assert read["name"][6] == "plain"
    assert (read["ms"] == -1).all()


@pytest.mark.parametrize(
    ("streams", "status"),
    [
        (">&-", 0),
        ("2>&-", 0),
        ("<&-", 0),
        (">&- 2>&- <&-", 0),
        (">/dev/full", 5),
        ("2>/dev/full", 0),
    ],
)
def test_streams_that_are_closed_or_full(tmp_path, streams, status):
    words = [sys.executable, *COMMAND[1:], "datasets"]
    done = subprocess.run(
        ["sh", "-c", f'"$@" {streams}', "sh", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr


def test_a_refusal_that_cannot_be_printed_keeps_its_status(tmp_path):
    words = [sys.executable, *COMMAND[1:], "export", "none.db", "--csv", "x.csv"]
    done = subprocess.run(["sh", "-c", '"$@" 2>/dev/full', "sh", *words], cwd=tmp_path, check=False)
    assert done.returncode == 3


def test_no_folder_for_temporary_files(latprof, monkeypatch, tmp_path):
    import tempfile

    model = write_model(tmp_path / "m.onnx", [1, 3, 8, 8])
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "none")])
    done = latprof("profile", model, cwd=tmp_path)
    assert (done.returncode, "TMPDIR" in done.stderr) == (2, True), done.stderr
