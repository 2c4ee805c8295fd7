"""A word that an option does not know is refused with those that it knows, and the nearest."""

import pytest
from command_line import run_latprof

import latprof
from latprof.errors import InvalidValueError, UsageError

MEMBER = "1,0,6,6,2,0,1,1,5,1,1,1,4,1,1,1,5,5,2,2,5"
#: Words of a command line, the unknown one among them, and the nearest one that is known.
REFUSED = {
    "predict a mode": (["predict", MEMBER, "--mode", "opt-basik"], "opt-basic"),
    "predict a target's mode": (
        ["predict", MEMBER, "--target", "cpu:onnxruntime", "--mode", "opt-basik"],
        "opt-basic",
    ),
    "predict a pack's mode": (
        ["predict", MEMBER, "--pack", "proxyless-cpu-ort1", "--mode", "opt-basik"],
        "opt-basic",
    ),
    "predict every pack's mode": (["predict", MEMBER, "--all", "--mode", "opt-basik"], "opt-basic"),
    "predict a target": (["predict", MEMBER, "--target", "cpu:onnxrutime"], "cpu:onnxruntime"),
    "predict a format": (["predict", MEMBER, "--format", "jsn"], "json"),
    "predict with a pack": (
        ["predict", MEMBER, "--pack", "proxyles-cpu-ort1"],
        "proxyless-cpu-ort1",
    ),
    "packs of a device": (["packs", "--on", "Raspbery Pi 4"], "Raspberry Pi 4"),
    "profile a mode": (["profile", "m.onnx", "--mode", "opt-basik"], "opt-basic"),
    "profile a dtype": (["profile", "m.onnx", "--dtype", "flaot32"], "float32"),
    "profile a target": (["profile", "m.onnx", "--target", "cpu:torhc"], "cpu:torch"),
    "profile an order": (["profile", "m.onnx", "--by", "tiem"], "time"),
    "collect a plan": (["collect", "--plan", "transfre", "--from", "a.pack"], "transfer"),
    "collect a space": (["collect", "--space", "proxyles"], "proxyless"),
    "search a method": (
        ["search", "--space", "proxyless", "--accuracy", "t.csv", "--method", "evoluton"],
        "evolution",
    ),
    "a lookup table's format": (
        ["lookup-table", "proxyless-cpu-ort1", "--format", "yml"],
        "yaml",
    ),
    "a network of the zoo": (["zoo", "mobilenet-v22"], "mobilenet-v2"),
    "a phone's runtime": (["android", "setup", "x.so", "--runtime", "litrt"], "litert"),
    "an action": (["farm", "strat"], "start"),
    "a setting": (["predict", MEMBER], "target"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_it_is_refused_with_the_nearest(tmp_path, what):
    words, nearest = REFUSED[what]
    if what == "a setting":
        (tmp_path / "latprof.toml").write_text('targt = "cpu:onnxruntime"')
    done = run_latprof(*words, cwd=tmp_path)
    assert done.returncode == (3 if "with a pack" in what else 2), done.stdout + done.stderr
    said = " ".join(done.stderr.replace("│", " ").split())
    assert "did you mean '" in said
    assert said.partition("did you mean '")[2].startswith(nearest)


def test_words_of_python_are_looked_at_too():
    with pytest.raises(InvalidValueError, match="did you mean 'dtype'"):
        latprof.profile("m.onnx", dtpye="int8")
    for mode in ("opt-basik", ["opt-basic", "nonsense"], 5, [b"x"]):
        with pytest.raises(InvalidValueError, match="mode"):
            latprof.predict(MEMBER, mode=mode)
    with pytest.raises(UsageError, match="one of"):
        latprof.packs(on="typewriter")
