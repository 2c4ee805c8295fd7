"""The zoo: every network has the costs that are published, and is a model that runtimes run."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from latprof.datasets import zoo
from latprof.errors import InvalidValueError, OutputPathError, UnknownNameError
from latprof.graph.reader import read_network

UNITS = {"K": 1e3, "M": 1e6, "B": 1e9}
#: One network of each family.
FAMILIES = {zoo.facts(name).family: name for name in reversed(zoo.names())}
SMALL = ("tinynet-e", "shufflenet-v2-0.5", "mobilenet-v3-small", "bert-tiny", "edgenext-xx-small")


@pytest.mark.parametrize("name", zoo.names())
def test_parameters_and_macs_are_those_of_the_source(name):
    facts = zoo.facts(name)
    assert zoo.counts(name) == (facts.parameters, facts.macs)


@pytest.mark.parametrize("name", [n for n in zoo.names() if any(zoo.facts(n).published)])
def test_published_figures_are_met_within_a_unit_of_their_last_place(name):
    facts = zoo.facts(name)
    theirs = (facts.parameters, facts.macs + facts.besides)
    for built, published in zip(theirs, facts.published, strict=True):
        digits, unit = float(published[:-1]), UNITS[published[-1]]
        places = len(published[:-1].partition(".")[2])
        assert abs(built - digits * unit) < unit / 10**places, (built, published)
    assert facts.check == "within rounding"


def test_what_users_of_the_field_measure_first_is_there():
    wanted = """mobilenet-v1 mobilenet-v2 mobilenet-v3-small mobilenet-v3-large mnasnet-b1
        mnasnet-a1 proxyless-gpu proxyless-cpu proxyless-mobile fbnet-a fbnet-b fbnet-c
        single-path-nas
        efficientnet-b0 efficientnet-b7 tinynet-a tinynet-e shufflenet-v2-1.0 squeezenet-1.1
        ghostnet g-ghostnet-032 nasnet-a-mobile amoebanet-a-mobile darts resnet-18 resnet-34
        resnet-50 densenet-121 googlenet vgg-16 alexnet edgenext-small efficientformer-v2-s0
        uninet-b0 ssdlite-mobilenet-v3 efficientdet-d0 retinanet-nas-fpn yolox-nano
        lr-aspp-mobilenet-v3 regnet-y-004 convnext-tiny mobilevit-s swin-tiny vit-tiny bert-base
        distilgpt2"""
    assert set(wanted.split()) <= set(zoo.names())
    assert len(zoo.names()) >= 80
    unchecked = {name for name in zoo.names() if not zoo.facts(name).source}
    assert unchecked == {"fbnet-b", "retinanet-nas-fpn"}
    assert all(zoo.facts(name).note for name in unchecked)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_other_sizes_are_networks_whose_shapes_agree(family):
    """ONNX's own inference finds the shapes that the builder wrote down, at sizes nobody made."""
    facts = zoo.facts(FAMILIES[family])
    odd = facts.resolution + (facts.step if facts.step > 1 else 33)
    size = {"resolution": odd, "width": 0.5, "batch_size": 3}
    model = zoo.build(facts.name, weights=False, **size)
    onnx.shape_inference.infer_shapes(model, strict_mode=True, check_type=True, data_prop=True)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 3


def feed(session):
    random = np.random.default_rng(0)
    return {
        each.name: random.integers(0, 2, each.shape)
        if "int" in each.type
        else random.standard_normal(each.shape, np.float32)
        for each in session.get_inputs()
    }


def run(model):
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    outputs = session.run(None, feed(session))
    assert [list(value.shape) for value in outputs] == [o.shape for o in session.get_outputs()]
    return outputs


@pytest.mark.parametrize("name", SMALL)
def test_models_run_and_keep_the_scale_of_their_values(name):
    for value in run(zoo.onnx_bytes(name)):
        assert np.isfinite(value).all()
        assert 1e-3 < value.std() < 1e3


def test_a_normalisation_that_is_kept_computes_the_same():
    """And has its scale and shift counted where it stands."""
    size = {"resolution": 64, "width": 0.5}
    folded, kept = (
        zoo.build("efficientnet-b0", batch_norm=how, **size) for how in ("folded", "kept")
    )
    kinds = {node.op_type for node in folded.graph.node}
    assert "BatchNormalization" not in kinds
    assert "BatchNormalization" in {node.op_type for node in kept.graph.node}
    assert read_network(kept).parameters == zoo.counts("efficientnet-b0", **size)[0]
    (one,), (other,) = (run(model.SerializeToString()) for model in (folded, kept))
    assert one.shape == other.shape == (1, 1000)


def test_a_model_is_the_same_by_each_way_to_it(tmp_path):
    size = {"resolution": 32, "width": 0.5, "batch_size": 2}
    built = zoo.build("tinynet-e", **size)
    content = zoo.onnx_bytes("tinynet-e", **size)
    path = zoo.write_model(tmp_path / "m.onnx", "tinynet-e", **size)
    assert path.read_bytes() == content
    assert onnx.ModelProto.FromString(content) == built
    onnx.checker.check_model(built, full_check=True)
    assert zoo.onnx_bytes("tinynet-e", seed=1, **size) != content
    about = {p.key: p.value for p in built.metadata_props}
    assert about == {"latprof.zoo": "tinynet-e resolution=32 width=0.5 batch_size=2"}


def test_without_weights_a_model_is_small_and_can_be_read():
    model = zoo.build("vgg-16", weights=False)
    assert model.ByteSize() < 100_000
    assert read_network(model).parameters == 138_357_544


@pytest.mark.parametrize(
    "options",
    [
        {"resolution": 0},
        {"resolution": 5000},
        {"width": 0.01},
        {"width": float("nan")},
        {"batch_size": 0},
        {"batch_norm": "none"},
        {"resolution": 100},  # ViT's patches are 16 wide
        {"width": 8.0, "resolution": 2048},
    ],
)
def test_sizes_that_cannot_be_are_refused(options):
    name = "alexnet" if options.get("width") == 8.0 else "vit-tiny"
    with pytest.raises(InvalidValueError) as caught:
        zoo.build(name, **options)
    assert caught.value.field in options


def test_an_image_that_vanishes_is_refused():
    with pytest.raises(InvalidValueError, match="needs larger images") as caught:
        zoo.build("inception-v3", resolution=20, weights=False)
    assert caught.value.field == "resolution"


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'resnet-18'"):
        zoo.facts("resnet-19")
    with pytest.raises(OutputPathError):
        zoo.write_model(tmp_path / "none" / "m.onnx", "tinynet-e")


@pytest.mark.parametrize(
    ("text", "resolution", "spelled"),
    [
        ("resnet-18@", None, "resnet-18"),
        ("resnet-18", None, "resnet-18"),
        ("resnet-18@224", None, "resnet-18"),
        ("resnet-18", 160, "resnet-18@160"),
        ("resnet-18@192x0.50", 160, "resnet-18@192x0.5"),
        ("resnet-18@x2", None, "resnet-18@x2"),
    ],
)
def test_a_variant_is_spelled_in_one_way(text, resolution, spelled):
    variant = zoo.ZooVariant.parse(text, resolution)
    assert str(variant) == spelled
    assert zoo.ZooVariant.parse(spelled) == variant
    assert variant.family == "resnet"


@pytest.mark.parametrize(
    "text", ["resnet-18@", "resnet-18@x", "resnet-18@-3", "", "resnet-18@1x2x3"]
)
def test_another_spelling_is_refused(text):
    if text == "resnet-18@":
        assert str(zoo.ZooVariant.parse(text)) == "resnet-18"
        return
    with pytest.raises((InvalidValueError, UnknownNameError)):
        zoo.ZooVariant.parse(text)


def test_variants_of_other_graphs_have_other_digests():
    texts = ("resnet-18", "resnet-18@160", "resnet-18@x0.5", "resnet-34")
    digests = [zoo.ZooVariant.parse(text).digest() for text in texts]
    assert len(set(digests)) == len(texts)
    assert zoo.ZooVariant.parse("resnet-18").digest() == digests[0]
