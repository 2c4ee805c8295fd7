"""One model predicted over batch, resolution and sequence length."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

import latprof
from latprof.cli.app import app
from latprof.cli.curve_output import parse_ranges
from latprof.errors import InvalidValueError, UsageError
from latprof.workflows.predict_curve import predict_curve


@pytest.mark.parametrize(
    "given",
    [
        {"shapes": 5},
        {"shapes": [(1, 3, 8, 8)]},
        {"shapes": {"image": 5}},
        {"shapes": {"image": "1388"}},
        {"shapes": {"image": (range(10**12), 3, 8, 8)}},
        {"shapes": {3: (1, 3, 8, 8)}},
        {"batch_sizes": 4},
        {"batch_sizes": "48"},
        {"batch_sizes": range(1, 10**12)},
        {"batch_sizes": (1, 2.5)},
    ],
)
def test_what_are_no_sizes_is_refused(image, given):
    with pytest.raises(UsageError):
        predict_curve(image, **({"batch_sizes": (1, 2)} | given))


def test_numbers_of_numpy_are_sizes(image):
    shapes = {"image": (np.int64(1), 3, np.array([8, 16]), 8)}
    found = predict_curve(image, shapes=shapes, batch_sizes=np.array([1, 2]))
    assert [point.sizes for point in found.curve.points] == [(1, 8), (1, 16), (2, 8), (2, 16)]
    assert latprof.predict(image, shapes={"image": tuple(np.array([1, 3, 8, 8]))}).latency_ms > 0


def predict(*words):
    return CliRunner().invoke(app, ["predict", *words])


def image_model(path):
    """A convolution whose batch, height and width are free."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, (8, 3, 3, 3), b"\0" * 864, raw=True)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "w"], ["y"], pads=[1, 1, 1, 1])],
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ("n", 3, "h", "w"))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [weight],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return str(path)


def sequence_model(path):
    """Embeddings times themselves, masked: work grows with the square of the length."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["x", "t"], ["scores"]),
        helper.make_node("Add", ["scores", "mask"], ["y"]),
    ]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, "length", 64)),
        helper.make_tensor_value_info("mask", TensorProto.FLOAT, (1, 1, "length")),
    ]
    graph = helper.make_graph(
        nodes, "g", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return str(path)


@pytest.fixture
def image(tmp_path):
    return image_model(tmp_path / "image.onnx")


@pytest.fixture
def sequence(tmp_path):
    return sequence_model(tmp_path / "sequence.onnx")


def test_ranges_double_or_go_in_steps_and_end_at_their_end():
    assert parse_ranges(["input=1..20,3,64..256..96,7"]) == {
        "input": ((1, 2, 4, 8, 16, 20), 3, (64, 160, 256), 7)
    }
    assert parse_ranges(["0..4x5"]) == {None: ((0, 1, 2, 4), 5)}


@pytest.mark.parametrize(
    "text", ["8..1,3", "1..8..0,3", "1..,3", "a=..,3", "1..4..1..2", "1..9999..1,3", "=1..2", "x"]
)
def test_what_is_no_range_is_one_line(text, image):
    with pytest.raises(InvalidValueError):
        parse_ranges([text])
    assert predict(image, "--shape", f"{text}..").exit_code == 2


def test_each_point_is_what_predict_answers_at_that_size(image):
    found = predict_curve(image, shapes={"image": ([1, 4], 3, 32, 32)}).curve
    assert found.axes == ("batch",)
    for point, answer in found.answered:
        alone = latprof.predict(image, shapes={"image": (*point.sizes, 3, 32, 32)})
        assert answer == alone
        assert found.throughput(point) == pytest.approx(1000 * point.sizes[0] / answer.latency_ms)


def test_batch_sizes_are_ranges_of_the_first_dimension(image):
    words = ("--shape", "image=1,3,32,32", "--batch-size")
    several = json.loads(predict(image, *words, "1,4", "--json").stdout)
    ranged = json.loads(predict(image, "--shape", "image=1..4,3,32,32", "--json").stdout)
    assert [p["sizes"] for p in several["points"]] == [{"batch": 1}, {"batch": 4}]
    by_size = {p["sizes"]["batch"]: p["latency_ms"] for p in ranged["points"]}
    assert [p["latency_ms"] for p in several["points"]] == [by_size[1], by_size[4]]
    (alone,) = json.loads(predict(image, *words, "4", "--json").stdout)
    assert alone["latency_ms"] == by_size[4]


def test_a_length_is_called_as_in_the_model_and_varies_everywhere_at_once(sequence):
    words = ("--shape", "x=1,16..256,64", "--shape", "mask=1,1,16..256")
    result = predict(sequence, *words)
    assert result.exit_code == 0, result.stderr
    header = next(line for line in result.stdout.splitlines() if "coverage" in line)
    assert header.split()[0] == "length"
    assert "items/s" not in header
    found = json.loads(predict(sequence, *words, "--json").stdout)
    times = [point["latency_ms"] for point in found["points"]]
    assert len(times) == 5
    assert times[-1] > times[0]


def test_two_ranges_are_combined_and_a_size_that_fails_says_why(image):
    result = predict(image, "--shape", "image=1..2,3,0..64..32,32", "--json")
    found = json.loads(result.stdout)
    assert found["axes"] == ["batch", "h"]
    assert [tuple(p["sizes"].values()) for p in found["points"]] == [
        (1, 0), (1, 32), (1, 64), (2, 0), (2, 32), (2, 64)
    ]  # fmt: skip
    failed = [p for p in found["points"] if p["failure"]]
    assert result.exit_code == (5 if failed else 0)


def test_a_page_and_pictures_show_the_curve(image, tmp_path):
    words = ("--shape", "image=1..4,3,32,32", "-o", "page.html", "--png", "pictures")
    from command_line import run_latprof

    done = run_latprof("predict", image, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Latency by batch" in page
    assert "batch 4" in page
    assert {path.stem for path in (tmp_path / "pictures").iterdir()} == {"latency", "throughput"}


@pytest.mark.parametrize(
    "words",
    [
        ("--batch-size", "1,2", "--fail-if", "> 5 ms"),
        ("--batch-size", "1,2", "--operators"),
        ("--batch-size", "1,2", "--shape", "1..4,3,8,8"),
        ("--shape", "1..2,3,4..8,16..32"),
        ("--shape", "1..200..1,3,4..8,16"),
        ("--shape", "other=1..2,3,8,8"),
        ("-o", "page.html"),
    ],
)
def test_what_is_no_curve_is_one_line(words, image):
    result = predict(image, *words)
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1


def test_where_every_point_fails_the_first_says_why(sequence):
    result = predict(sequence, "--shape", "x=1,16..32,64", "--shape", "mask=1,5")
    assert result.exit_code == 2
    assert "mask" in result.stderr
    assert result.stdout == ""


def test_one_batch_size_is_for_models_only(image):
    with pytest.raises(UsageError, match="for models"):
        latprof.predict("1,0,6,6,2,0,1,1,5,1,1,1,4,1,1,1,5,5,2,2,5", batch_size=2)
