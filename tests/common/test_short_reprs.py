"""Public records represent themselves in a line, however much they hold."""

import dataclasses
import importlib

import pytest

import latprof
from latprof.common.short_reprs import ShortRepr
from latprof.measurement.records import PairedSamples

ROOMS = ("datasets", "graph", "measurement", "predictors", "profilers", "reports", "searchers")
HOLDS_MUCH = ("tuple[", "Sequence[", "Mapping[", "dict[", "list[", "Floats", "NDArray", "DataFrame")
#: A few short values, whatever the annotation: shapes, cores, words.
SHORT = {"Architecture", "Operator", "PairedProtocol", "RunOptions", "Target", "KernelTime"}


def records():
    modules = [latprof, *(importlib.import_module(f"latprof.{room}") for room in ROOMS)]
    found = [getattr(module, name) for module in modules for name in module.__all__]
    return sorted(
        (
            record
            for record in {id(value): value for value in found}.values()
            if isinstance(record, type)
            and dataclasses.is_dataclass(record)
            and any(
                field.repr and str(field.type).startswith(HOLDS_MUCH)
                for field in dataclasses.fields(record)
            )
        ),
        key=lambda record: record.__name__,
    )


@pytest.mark.parametrize("record", records(), ids=lambda record: record.__name__)
def test_a_record_that_holds_much_has_a_short_representation(record):
    if record.__name__ in SHORT:
        return
    own = hasattr(record.__repr__, "__wrapped__")  # a dataclass's own shows all of every field
    assert issubclass(record, ShortRepr) or not own


def test_ten_thousand_runs_are_one_line():
    samples = PairedSamples((tuple([1.0] * 10_000),), ((1.0, 1.0), (1.0, 1.0)))

    assert len(repr(samples)) < 300


def test_a_network_is_one_line():
    network = latprof.get_space("proxyless")
    read = latprof.read_network(network.onnx_bytes(network.sample(1)[0]))

    assert repr(read).startswith("Network(name='proxyless'")
    assert len(repr(read)) < 800
