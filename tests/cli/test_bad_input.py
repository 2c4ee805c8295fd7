"""Bad input ends in one clear line on stderr and the documented exit status."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from computed_store import fill_store
from onnx import TensorProto, helper

ARCHITECTURE = "1,0,6,6,2,0,1,1,5,1,1,1,4,1,1,1,5,5,2,2,5"


def write_model(path, shape, op_type="Relu", domain=""):
    node = helper.make_node(op_type, ["x"], ["y"], domain=domain)
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in "xy"]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(domain or "unused", 1)]
    graph = helper.make_graph([node], "g", info[:1], info[1:])
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.fixture
def refused(latprof):
    """Run, expect an exit status and one line that holds the words; return the line."""

    def run(status, words, *arguments, **keywords):
        done = latprof(*arguments, **keywords)
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        lines = [line for line in done.stderr.splitlines() if line.startswith("latprof: ")]
        assert len(lines) == 1, done.stderr
        assert "Traceback" not in done.stderr
        for word in words.split("|"):
            assert word in lines[0], lines[0]
        return lines[0]

    return run


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "bad.onnx|[model-file]"),
        (b"", "bad.onnx|empty|[model-file]"),
        (b"hello, this is text\n", "bad.onnx|[model-file]"),
        (b"\x08\x08\x12\x07pytorch\xff\xff\xff", "bad.onnx|[model-file]"),
    ],
)
@pytest.mark.parametrize("command", ["collect", "predict"])
def test_what_is_no_model(refused, pack, tmp_path, content, words, command):
    path = tmp_path / "bad.onnx"
    if content is not None:
        path.write_bytes(content)
    rest = ("--pack", pack) if command == "predict" else ("--store", tmp_path / "lat.db")
    refused(3, words, command, path, *rest)
    assert not (tmp_path / "lat.db").exists()


def test_a_truncated_model(refused, pack, tmp_path):
    whole = write_model(tmp_path / "whole.onnx", [1, 3, 8, 8]).read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(whole[: len(whole) // 2])
    refused(3, "cut.onnx|[model-file]", "predict", path, "--pack", pack)


def test_one_bad_model_among_several_takes_nothing_along(latprof, refused, tmp_path):
    good, bad, store = (tmp_path / name for name in ("good.onnx", "bad.onnx", "lat.db"))
    write_model(good, [1, 3, 8, 8])
    bad.write_bytes(b"hello")
    refused(3, "bad.onnx|[model-file]", "collect", bad, bad, "--store", store)
    assert not store.exists()
    words = ("--store", store, "--visits", "1", "--burst-ms", "1", "-q", "--json")
    done = latprof("collect", good, bad, *words)
    assert done.returncode == 5
    assert done.stderr.count("bad.onnx: ") == 1
    found = json.loads(done.stdout)
    assert [row["network"] for row in found["labels"]] == ["good.onnx"]
    assert list(found["unusable"]) == [str(bad)]


def test_a_dynamic_shape_names_the_dimension_and_the_option(refused, latprof, tmp_path):
    path = write_model(tmp_path / "dynamic.onnx", ["batch", 3, 8, 8])
    store = tmp_path / "lat.db"
    refused(3, "batch|--shape|[dynamic-shape]", "collect", path, "--store", store)
    done = latprof(
        *("collect", path, "--shape", "x=2,3,8,8", "--store", store, "--visits", "1", "-q"),
        *("--repeat-fraction", "0"),
    )
    assert done.returncode == 0, done.stderr
    assert "this run        1 visit made" in done.stdout
    refused(2, "shape", "collect", path, "--shape", "x=2,q", "--store", store)


def test_an_operator_the_runtime_lacks(latprof, tmp_path):
    path = write_model(tmp_path / "odd.onnx", [1, 3], "NoSuchOperator", "nowhere")
    done = latprof("collect", path, "--store", tmp_path / "lat.db", "-q")
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1
    assert "NoSuchOperator" in done.stderr
    assert "[unsupported]" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--space", "proxyles"), "unknown space|did you mean 'proxyless'"),
        (("--space", "proxyless", "--target", "cpu:onnx"), "unknown target|cpu:onnxruntime"),
        (("--space", "proxyless", "-n", "0"), "-n is out of range|from 1 to|[invalid-value]"),
        (("--space", "proxyless", "-n", "-3"), "-n is out of range|from 1 to|[invalid-value]"),
        (("--space", "proxyless", "--threads", "0"), "--threads|from 1 to"),
        (("--space", "proxyless", "--batch-size", "0"), "--batch-size|from 1 to"),
        (("--space", "proxyless", "--visits", "0"), "--visits|at least 1"),
        (("--space", "proxyless", "--repeat-fraction", "2"), "--repeat-fraction|0 to 1"),
        (("--space", "proxyless", "--burst-ms", "inf"), "--burst-ms|60000"),
        (("--space", "proxyless", "--timeout", "0"), "timeout"),
        (("--space", "proxyless", "--timeout", "inf"), "timeout|at most"),
        (("--space", "proxyless", "--seed", "-1"), "seed|0 to"),
        (("--space", "proxyless", "--seed", "99999999999999999999"), "seed|0 to"),
        (("--space", "proxyless", "-n", "1000001"), "-n is out of range|to 1000000"),
        (("--space", "proxyless", "--visits", "99999999999"), "--visits|from 1 to"),
        (("--space", "proxyless", "--rounds", "99999999999"), "--rounds|from 1 to"),
        (("--space", "proxyless", "--threads", "100000"), "--threads|from 1 to"),
        (("--space", "proxyless", "--batch-size", "99999999999"), "--batch-size|from 1 to"),
        (("--space", "proxyless", "--resolution", "1000000"), "resolution|from 32 to"),
        (("--space", "proxyless", "--cores", "9999"), "no such cores"),
        (("--space", "proxyless", "--cores", "a"), "numbers with commas"),
        (("--space", "proxyless", "--resolution", "8"), "from 32 to"),
        (("--space", "proxyless", "--half-width", "much"), "not a share|1%"),
        (("--space", "proxyless", "--half-width", "0"), "not a share|1%"),
        (("--space", "proxyless", "--half-width", "100%"), "not a share|1%"),
        (
            ("--space", "proxyless", "--half-width", "1%", "--max-visits", "3"),
            "--max-visits|at least 8",
        ),
        (("--space", "proxyless", "--max-visits", "9"), "--half-width"),
        (("--space", "proxyless", "--time-limit", "soon"), "not a duration|2h"),
        (("--space", "proxyless", "--time-limit", "-5m"), "not a duration|2h"),
        (("--space", "proxyless", "--time-limit", "infh"), "not a duration|2h"),
        ((), "--space"),
        (("--space", "proxyless", "model.onnx"), "several things to measure"),
    ],
)
def test_wrong_arguments_of_collect(refused, tmp_path, arguments, words):
    refused(2, words, "collect", *arguments, "--store", tmp_path / "lat.db")
    assert not (tmp_path / "lat.db").exists(), "a refusal leaves no store behind"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("://", "database URL"),
        ("nonsense://host/name", "unknown kind of database: nonsense"),
    ],
)
def test_a_database_url_that_cannot_keep_a_measurement(refused, url, words):
    refused(2, words, "collect", "--space", "proxyless", "-n", "1", "--store", url)
    refused(2, words, "export", url, "--csv", "t.csv")


def test_a_store_that_is_no_file(refused, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    refused(3, "a device or a pipe", "collect", "--space", "proxyless", "--store", "/dev/full")
    refused(3, "a device or a pipe", "report", tmp_path / "pipe")


@pytest.mark.parametrize("predictor", ["hybrid", "linear"])
@pytest.mark.parametrize("seed", ["-1", "99999999999999999999"])
def test_a_seed_out_of_range(refused, collected, tmp_path, predictor, seed):
    options = ("--predictor", predictor, "--seed", seed)
    refused(2, "seed|0 to", "train", collected, "-o", tmp_path / "p", *options)


def test_a_name_that_no_file_can_have(refused, collected, pack):
    name = "a" * 5000
    refused(2, "neither a file nor", "predict", name, "--pack", pack)
    refused(2, "neither a file nor", "predict", "1," * 3000, "--pack", pack)
    refused(3, "no store at", "export", name, "--csv", "t.csv")
    refused(2, "cannot write", "export", collected, "--csv", name)
    refused(2, "cannot write", "train", collected, "-o", "", "--no-compare")
    refused(3, "cannot read", "profile", name)
    refused(2, "cannot be compared", "compare", name, collected)


def test_two_shapes_for_one_input(refused, pack, tmp_path):
    path = write_model(tmp_path / "m.onnx", ["n", 3, 8, 8])
    shapes = ("--shape", "1,3,8,8", "--shape", "2,3,8,8")
    refused(2, "two shapes", "predict", path, "--pack", pack, *shapes)


def test_a_name_cannot_break_a_line_or_steer_the_terminal(latprof, pack, tmp_path):
    path = write_model(tmp_path / "a\nb\x1b[31m.onnx", [1, 3, 8, 8])
    done = latprof("predict", path, "--pack", pack)
    assert done.returncode == 0, done.stderr
    assert "a\\nb\\x1b[31m.onnx" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == 2


def test_a_short_time_is_not_printed_as_zero(latprof, pack, tmp_path):
    path = write_model(tmp_path / "tiny.onnx", [1, 1])
    done = latprof("predict", path, "--pack", pack, "--operators")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert float(lines[1].split()[2]) > 0  # behind the ~ of a guess
    assert float(lines[-1].split()[-2]) > 0


def test_whoever_reads_the_output_may_leave(pack, tmp_path):
    command = [sys.executable, "-c", "from latprof.cli.main import main; main()"]
    many = [ARCHITECTURE] * 3000
    with (
        (tmp_path / "errors").open("w+") as errors,
        subprocess.Popen(
            [*command, "predict", *many, "--pack", pack], stdout=subprocess.PIPE, stderr=errors
        ) as process,
    ):
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=600) == 0
        errors.seek(0)
        assert "Traceback" not in errors.read()


def test_output_that_finds_no_room(pack):
    command = [sys.executable, "-c", "from latprof.cli.main import main; main()"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*command, "predict", ARCHITECTURE, "--pack", pack],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 5
    assert "no space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_input_larger_than_memory(latprof, tmp_path):
    path = write_model(tmp_path / "large.onnx", [2**19, 2**20])
    done = latprof("collect", path, "--store", tmp_path / "lat.db", "-q")
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "too large" in done.stderr


def test_an_operator_set_newer_than_the_runtime_says_so(latprof, tmp_path):
    path = write_model(tmp_path / "new.onnx", [1, 3, 8, 8])
    model = onnx.load(path)
    model.opset_import[0].version = 99
    onnx.save(model, path)
    done = latprof("collect", path, "--store", tmp_path / "lat.db", "-q")
    assert done.returncode == 4
    assert "at most opset" in done.stderr


def test_an_unknown_predictor_lists_those_that_exist(refused, collected, tmp_path):
    words = "unknown predictor|hybrid, linear, lookup-table, xgboost"
    refused(2, words, "train", collected, "-o", tmp_path / "p", "--predictor", "forest")


def test_three_rows_are_too_few_to_train_on(refused, tmp_path):
    store = fill_store(tmp_path / "lat.db", n=3, visits=1)
    refused(3, "3|at least|[not-enough-data]", "train", store, "-o", tmp_path / "p.pack")
    assert not (tmp_path / "p.pack").exists()


def test_a_store_of_another_version(refused, collected, tmp_path):
    path = tmp_path / "old.db"
    source, copy = sqlite3.connect(collected), sqlite3.connect(path)
    source.backup(copy)
    copy.execute("UPDATE latprof_meta SET value='77' WHERE name='schema_version'")
    copy.commit()
    copy.close()
    source.close()
    for command in (("train", path, "-o", tmp_path / "p"), ("report", path), ("export", path)):
        rest = ("--csv", tmp_path / "t.csv") if command[0] == "export" else ()
        refused(3, "version 77|[store-version]", *command, *rest)


def test_a_store_that_is_none(refused, tmp_path):
    path = tmp_path / "text.db"
    path.write_text("no database")
    refused(3, "not a latprof store", "report", path)
    refused(3, "no store at", "report", tmp_path / "missing.db")
    refused(3, "not a latprof store", "collect", "--space", "proxyless", "--store", path)


def test_a_pack_that_is_none_or_altered(refused, pack, tmp_path):
    refused(3, "cannot read pack|proxyless-cpu-ort1", "predict", ARCHITECTURE, "--pack", "ort1")
    path = tmp_path / "x.pack"
    refused(3, "x.pack|[pack]", "predict", ARCHITECTURE, "--pack", path)
    path.write_bytes(b"")
    refused(3, "x.pack|[pack]", "predict", ARCHITECTURE, "--pack", path)
    content = bytearray(pack.read_bytes())
    middle = len(content) // 2
    for place in range(middle, middle + 200):  # one byte may be a date that nobody reads
        content[place] ^= 0xFF
    path.write_bytes(content)
    refused(3, "x.pack|[pack", "predict", ARCHITECTURE, "--pack", path)


def test_an_architecture_of_another_space_or_none(refused, pack):
    refused(2, "another space", "predict", "fbnet:1,2,3", "--pack", pack)
    refused(2, "neither a file nor an architecture", "predict", "banana", "--pack", pack)
    refused(2, "wrong number of choices", "predict", "1,2,3", "--pack", pack)
    refused(2, "no candidate 9", "predict", "9" + ARCHITECTURE[1:], "--pack", pack)


def test_strict_refuses_what_the_pack_does_not_know(refused, pack_elsewhere, tmp_path):
    path = write_model(tmp_path / "odd.onnx", [1, 3, 64, 64], "Erf")
    refused(1, "erf|[coverage]", "predict", path, "--pack", pack_elsewhere, "--strict")


@pytest.mark.parametrize("where", ["missing/out", "."])
def test_an_unwritable_path(refused, collected, pack, tmp_path, where):
    path = tmp_path / where
    refused(2, "[output-path]", "train", collected, "-o", path)
    refused(2, "[output-path]", "report", collected, "-o", path)
    refused(2, "[output-path]", "export", collected, "--csv", path)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 512 kB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a small file system here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_ends_a_collection_and_keeps_what_was_measured(refused, latprof, small_disk):
    store = small_disk / "lat.db"
    options = "--space proxyless --resolution 64 -n 200 --visits 1 -q".split()
    refused(5, "is full|[disk-full]", "collect", *options, "--store", store)
    done = latprof("export", store, "--csv", small_disk.parent / "t.csv")
    assert done.returncode == 0, done.stderr
    assert len((small_disk.parent / "t.csv").read_text().splitlines()) >= 4


def test_a_full_disk_leaves_nothing_half_written(refused, collected, small_disk):
    refused(5, "[disk-full]", "report", collected, "-o", small_disk / "r.html")
    assert list(small_disk.iterdir()) == []


def test_a_time_out_has_its_own_status(latprof, tmp_path):
    options = "--space proxyless -n 1 --visits 1 --repeat-fraction 0 --timeout 0.01 -q".split()
    done = latprof("collect", *options, "--store", tmp_path / "lat.db")
    assert done.returncode == 124
    assert "[timeout]" in done.stderr


def test_what_cannot_become_a_data_set(refused, collected, tmp_path):
    refused(2, "NAME.parquet", "export", collected, "--dataset", tmp_path / "mine.csv")
    missing = ("--notes", tmp_path / "no.md")
    refused(3, "no.md", "export", collected, "--dataset", tmp_path / "m.parquet", *missing)
    assert not list(tmp_path.iterdir())
    refused(2, "data set|proxyless-cpu-ort1", "datasets", "proxyless-cpu-ort")
    refused(3, "there is no", "datasets", tmp_path / "none.parquet", "--json")


def test_nowhere_to_export_to(refused, collected):
    refused(2, "--parquet", "export", collected)


def test_an_unknown_target_of_a_store_lists_what_it_holds(refused, collected):
    refused(2, "onnxruntime", "report", collected, "--target", "cuda")


@pytest.mark.parametrize("command", ["profile", "collect", "compare"])
def test_weights_under_a_second_name_are_not_read(refused, tmp_path, command):
    """What lies beside a downloaded model may be a hard link to a file of its reader."""
    folder = tmp_path / "downloaded"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(range(256)))
    (folder / "w.bin").hardlink_to(tmp_path / "secret")
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[8, 8])
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="w.bin")
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 8]) for n in "xy"]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    words = {"collect": (path, "--store", tmp_path / "s.db"), "compare": (path, path)}
    refused(3, "second name (a hard link)", command, *words.get(command, (path,)))
