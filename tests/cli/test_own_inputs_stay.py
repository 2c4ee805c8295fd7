"""A command that is told to write over what it reads refuses before any work."""

import pytest
from typer.testing import CliRunner

from latprof.cli.app import app
from latprof.workflows.import_runs import import_runs

PYPERF = """{"version": "1.0", "benchmarks": [
 {"metadata": {"name": "m", "unit": "second"}, "runs": [{"values": [0.1, 0.2]}]}]}"""


@pytest.fixture
def files(tmp_path, monkeypatch, latprof_model, latprof_pack):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.onnx").write_bytes(latprof_model)
    (tmp_path / "own.pack").write_bytes(latprof_pack.read_bytes())
    (tmp_path / "runs.json").write_text(PYPERF)
    (tmp_path / "kernels.csv").write_text("a,b\n1,2\n")
    import_runs("runs.json", "lat.db")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("profile model.onnx --trace model.onnx", "model.onnx"),
        ("profile model.onnx --annotate ./model.onnx", "model.onnx"),
        ("profile model.onnx --trace t --annotate t", "t"),
        ("profile model.onnx --batch-size 1,2 -o model.onnx", "model.onnx"),
        ("profile model.onnx --input input=v.npy --trace v.npy", "v.npy"),
        ("predict model.onnx --batch-size 1,2 -o model.onnx", "model.onnx"),
        ("predict model.onnx --pack own.pack --batch-size 1,2 -o own.pack", "own.pack"),
        ("lookup-table own.pack -o own.pack", "own.pack"),
        ("train --kernels kernels.csv -o kernels.csv", "kernels.csv"),
        ("train lat.db -o lat.db", "lat.db"),
        ("report lat.db -o lat.db", "lat.db"),
        ("report lat.db --pack own.pack -o own.pack", "own.pack"),
        ("export lat.db --csv lat.db", "lat.db"),
        ("export lat.db --csv t.csv --pyperf t.csv", "t.csv"),
        ("search --pack own.pack --accuracy kernels.csv -o kernels.csv", "kernels.csv"),
        ("search --pack own.pack --accuracy kernels.csv --store s.db -o s.db", "s.db"),
        ("search --pack own.pack --accuracy kernels.csv --export own.pack", "own.pack"),
    ],
)
def test_the_file_stays_and_the_message_names_it(files, words, named):
    before = {path.name: path.read_bytes() for path in files.iterdir()}
    done = CliRunner().invoke(app, words.split())
    assert done.exit_code == 2, done.output
    assert f"cannot write {named}: " in done.stderr
    assert "named for something else" in done.stderr or "it is a database" in done.stderr
    after = {path.name: path.read_bytes() for path in files.iterdir()}
    assert {name: after.get(name) for name in before} == before
    assert named in before or named not in after
