"""``latprof.toml`` and ``LATPROF_*``: which value counts, and what is refused."""

import json
import os
import tomllib

import pytest
from typer.testing import CliRunner

from latprof.cli.app import app
from latprof.cli.configuration import FILE, SETTINGS, defaults_for

MEMBER = "1,0,6,6,2,0,1,1,5,1,1,1,4,1,1,1,5,5,2,2,5"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in SETTINGS:
        monkeypatch.delenv(f"LATPROF_{name.upper()}", raising=False)
    return tmp_path


def run(*words):
    return CliRunner().invoke(app, list(words))


def dumped():
    done = run("--dump-config")
    assert done.exit_code == 0, done.output
    sources = [line.rpartition("# ")[2] for line in done.stdout.splitlines()]
    return tomllib.loads(done.stdout), dict(zip(SETTINGS, sources, strict=True))


def test_what_is_dumped_is_a_file_that_says_the_same(folder):
    values, sources = dumped()
    assert values["threads"] == 1
    assert set(sources.values()) == {"default"}
    (folder / FILE).write_text(run("--dump-config").stdout, encoding="utf-8")
    again, sources = dumped()
    assert again == values
    assert {name for name, source in sources.items() if source != FILE} == {"pack"}


def test_an_option_comes_before_the_environment_and_that_before_the_file(folder, monkeypatch):
    (folder / FILE).write_text('store = "file.db"\nthreads = 2\ntarget = "cpu:torch"\n')
    monkeypatch.setenv("LATPROF_STORE", "environment.db")
    assert dumped()[0] | {"pack": ""} == {
        "target": "cpu:torch",
        "store": "environment.db",
        "threads": 2,
        "pack": "",
    }
    assert defaults_for("collect", {"target": "cpu:openvino"}) == {
        "store": "environment.db",
        "threads": "2",
    }
    assert defaults_for("devices", {}) == {}
    assert "store" in defaults_for("collect", {"kernels": True})
    assert "store" not in defaults_for("train", {"kernels": "table.csv"})


def test_a_command_uses_what_is_configured(folder, monkeypatch):
    monkeypatch.setenv("LATPROF_PACK", "proxyless-cpu-ort2")
    answer = json.loads(run("predict", MEMBER, "--json").stdout)[0]
    assert answer["target"]["threads"] == 2
    answer = json.loads(run("predict", MEMBER, "--pack", "proxyless-cpu-ort1", "--json").stdout)[0]
    assert answer["target"]["threads"] == 1
    answer = json.loads(run("predict", MEMBER, "--threads", "1", "--json").stdout)[0]
    assert answer["target"]["threads"] == 1  # a pack is chosen, the configured one left out
    (folder / FILE).write_text('store = "none.db"\n')
    done = run("export", "--csv", "t.csv")
    assert done.exit_code == 3
    assert "none.db" in done.stderr
    assert f"from {FILE}: store none.db" in done.stderr


def test_two_stores_are_compared_whatever_target_is_configured(monkeypatch):
    monkeypatch.setenv("LATPROF_TARGET", "cpu:torch")
    assert defaults_for("compare", {"a": "one.db"}) == {}
    assert defaults_for("compare", {"a": "one.onnx"}) == {"target": "cpu:torch"}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('stroe = "a"', "no setting 'stroe'"),
        ("threads = 0", "threads in latprof.toml"),
        ("threads = true", "threads in latprof.toml"),
        ('threads = "many"', "threads in latprof.toml"),
        ("store = 3", "store in latprof.toml"),
        ('store = "postgresql://elsewhere/x"', "another computer"),
        ('target = "tvm-rpc:elsewhere:9090"', "another computer"),
        ('target = "adb:elsewhere:5555:litert"', "another computer"),
        ('store = "postgresql:me:hush@elsewhere/x"', "another computer"),
        ("threads = 0x" + "f" * 6000, "threads in latprof.toml"),
        ("store = 0x" + "f" * 6000, "store in latprof.toml"),
        ("threads = 1\n#" + "x" * 70_000, "more than 65536 bytes"),
        ("= no toml", "cannot be read"),
        ('a = "' + "x" * 70_000 + '"', "cannot be read"),
    ],
)
def test_a_wrong_file_is_one_line(folder, text, part):
    (folder / FILE).write_text(text, encoding="utf-8")
    for words in (("collect", "m.onnx"), ("--dump-config",)):
        done = run(*words)
        assert done.exit_code in {2, 3}
        assert part in done.stderr
        assert "hush" not in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("text", ["threads = 0", "= no toml"])
def test_what_takes_no_setting_reads_no_wrong_file(folder, text):
    (folder / FILE).write_text(text, encoding="utf-8")
    assert run("collect", "--help").exit_code == 0
    assert run("packs").exit_code == 0


@pytest.mark.parametrize(
    "url", ["postgresql://me:hu@sh@h/x?password=hush", "postgresql:me:hush@h/x", "x://me:hush@h"]
)
def test_no_password_is_dumped(monkeypatch, url):
    monkeypatch.setenv("LATPROF_STORE", url)
    assert "sh" not in run("--dump-config").stdout.replace("proxyless", "")


def test_a_byte_order_mark_is_no_setting(folder):
    (folder / FILE).write_bytes(b"\xef\xbb\xbfthreads = 2\n")
    assert dumped()[0]["threads"] == 2


def test_a_wrong_variable_names_itself(monkeypatch):
    monkeypatch.setenv("LATPROF_THREADS", "x")
    assert "LATPROF_THREADS" in run("profile", "m.onnx").stderr


def test_what_is_no_file_is_not_waited_for(folder):
    os.mkfifo(folder / FILE)
    assert dumped()[1]["store"] == "default"


@pytest.mark.parametrize(
    ("given", "counts"),
    [({}, True), ({"space": "proxyless"}, False), ({"space": "mine:Space"}, True)],
)
def test_a_pack_is_searched_with_where_the_space_does_not_choose_one(monkeypatch, given, counts):
    monkeypatch.setenv("LATPROF_PACK", "own.pack")
    assert ("pack" in defaults_for("search", given)) is counts
    assert "pack" not in defaults_for("search", {**given, "latency": "table.parquet"})
