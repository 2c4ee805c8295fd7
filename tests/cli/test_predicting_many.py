"""Several models at once: one that cannot be predicted takes nothing along."""

import json

import onnx
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

from latprof.cli.app import app

MEMBER = "1,0,6,6,2,0,1,1,5,1,1,1,4,1,1,1,5,5,2,2,5"


def conv(path, name):
    """A convolution whose input of this name has a free batch size."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, (8, 3, 3, 3), b"\0" * 864, raw=True)
    graph = helper.make_graph(
        [helper.make_node("Conv", [name, "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("batch", 3, 16, 16))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [weight],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return str(path)


@pytest.fixture
def models(tmp_path):
    return conv(tmp_path / "image.onnx", "image"), conv(tmp_path / "pixels.onnx", "pixels")


def predict(*words, given=None):
    return CliRunner().invoke(app, ["predict", *words], input=given)


def test_a_named_shape_is_for_the_models_that_have_the_input(models):
    image, pixels = models
    shapes = ["--shape", "image=1,3,16,16", "--shape", "pixels=1,3,16,16"]
    result = predict(image, pixels, MEMBER, *shapes, "--json")
    assert result.exit_code == 0, result.output
    assert [each["name"] for each in json.loads(result.stdout)][:2] == [image, pixels]
    assert len(json.loads(result.stdout)) == 3


def test_a_shape_that_no_model_has_an_input_for_is_a_mistake(models):
    shapes = ["--shape", "image=1,3,16,16", "--shape", "pixels=1,3,16,16"]
    result = predict(*models, *shapes, "--shape", "imagge=1,3,8,8")
    assert result.exit_code == 2
    assert "imagge" in result.stderr


def test_a_bad_file_is_one_line_and_the_others_are_answered(models, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    image, _ = models
    result = predict(image, str(tmp_path / "bad.onnx"), "--shape", "image=1,3,16,16")
    assert result.exit_code == 5
    assert "image.onnx" in result.stdout
    assert sum("bad.onnx" in line for line in result.stderr.splitlines()) == 1


def test_fifty_files_are_one_table_and_three_lines(tmp_path):
    names = [conv(tmp_path / f"{number}.onnx", "image") for number in range(47)]
    for number in range(3):
        (tmp_path / f"bad{number}.onnx").write_bytes(b"not a model")
        names.insert(10 * number, str(tmp_path / f"bad{number}.onnx"))
    result = predict(*names, "--shape", "image=1,3,16,16")
    assert result.exit_code == 5
    assert len(result.stdout.splitlines()) == 48
    lines = result.stderr.splitlines()
    assert len(lines) <= 3
    failures = next(line for line in lines if "3 networks have no answer" in line)
    assert all(f"bad{number}.onnx: " in failures for number in range(3))


def test_failures_and_guesses_of_several_kinds_are_three_lines_too(tmp_path):
    names = [MEMBER, MEMBER]
    for number in range(2):
        names.append(conv(tmp_path / f"{number}.onnx", "image"))  # its kernel is a guess
        (tmp_path / f"bad{number}.onnx").write_bytes(b"not a model")
        names.append(str(tmp_path / f"bad{number}.onnx"))
    result = predict(*names, "--shape", "image=1,3,16,16", "--pack", "proxyless-cpu-ort1")
    assert result.exit_code == 5
    assert len(result.stdout.splitlines()) == 5
    failures, target, remarks = result.stderr.splitlines()
    assert "2 networks have no answer" in failures
    assert target.startswith("for ")
    assert all(f"{number}.onnx" in remarks for number in range(2))


def test_without_any_answer_there_is_no_table(models):
    result = predict(*models)
    assert result.exit_code == 3
    assert result.stdout == ""
    assert result.stderr.count("\n") == 2


def test_a_list_has_a_network_a_line(tmp_path):
    text = f"# two of them\n{MEMBER}\n\n proxyless:{MEMBER}  # the same\n"
    (tmp_path / "list.txt").write_text(text)
    for result in (
        predict(str(tmp_path / "list.txt"), "--json"),
        predict("-", "--json", given=text),
    ):
        assert result.exit_code == 0, result.output
        first, second = json.loads(result.stdout)
        assert first["latency_ms"] == second["latency_ms"]


def test_a_file_in_a_list_has_the_name_that_it_has(tmp_path):
    names = [tmp_path / name for name in ("a#b.onnx", "c, d.onnx", "e\u2028f.onnx")]
    for name in names:
        conv(name, "image")
    text = "\r\n".join(f"{name} # as it is" for name in names)
    result = predict("-", "--shape", "image=1,3,16,16", "--json", given=text)
    assert result.exit_code == 0, result.output
    assert [each["name"] for each in json.loads(result.stdout)] == [str(name) for name in names]


def test_an_empty_list_is_a_mistake(tmp_path):
    (tmp_path / "list.txt").write_text("# nothing\n")
    assert predict(str(tmp_path / "list.txt")).exit_code == 2
    assert predict("-", given="").exit_code == 2
    assert predict(str(tmp_path / "absent.txt")).exit_code == 3
