"""Every number that a Python function takes is within its limits, or an error of latprof says so.

The arguments are read from the functions that ``latprof`` hands on, so that a later one is tried.
"""

import dataclasses
import inspect
import math
import re

import numpy as np
import pytest
from calls import made_folder
from python_calls import NETWORK, WITH, calls, outcome, stop_python

import latprof
from latprof.farm.farm_keys import make_keys
from latprof.searchers.methods import get_searcher, searcher_class, searcher_names
from latprof.testing.latency_fixture import ms
from latprof.workflows.arguments import RunArguments
from latprof.workflows.predict_curve import predict_curve

#: Numbers of no parameter: a whole number that has no text, one that no float holds, and no number.
NEVER = {
    "nan": math.nan,
    "huge": 10**5000,
    "negative": -1,
    "negative huge": -(10**400),
    "-inf": -math.inf,
    "bool": True,
    "numpy's bool": np.True_,
    "text": "3",
    "bytes": b"3",
    "complex": 3 + 0j,
    "list": [3],
    "array": np.array([3, 4]),
}
#: Those that some take: 0, infinity, and a fraction where no whole number is asked for.
SOMETIMES = {
    "0": (0, {"repeat_fraction", "seed", "half_width", "shapes", "cores"}),
    "inf": (math.inf, {"limit_ms"}),
}


_NUMBER = re.compile(r"\b(?:int|float)\b")


def numeric(name):
    """The numeric parameters of a function, and whether each is a sequence of numbers."""
    for parameter in inspect.signature(getattr(latprof, name)).parameters.values():
        kind = str(parameter.annotation)
        if "Unpack[" in kind:
            names = RunArguments.__annotations__ if "RunArguments" in kind else ["tune_trials"]
            for each in names:
                text = str(RunArguments.__annotations__[each])
                if _NUMBER.search(text):
                    yield each, "Sequence" in text
        elif parameter.name == "queue_timeout_s":  # read only where a queue is waited for
            continue
        elif _NUMBER.search(kind) and not re.search("Callable|tuple", kind):
            yield parameter.name, "Sequence" in kind
        elif parameter.name == "shapes":
            yield "shapes", False


FUNCTIONS = [
    name
    for name in dir(latprof)
    if inspect.isfunction(getattr(latprof, name)) and [*numeric(name)] not in ([], [("shapes", 0)])
]


@pytest.fixture(scope="module")
def folder(collected, tmp_path_factory):
    return made_folder(tmp_path_factory.mktemp("numeric"), collected)


@pytest.fixture
def _stopped(monkeypatch):
    stop_python(monkeypatch.setattr)


def test_every_function_with_numbers_is_called(folder):
    assert sorted(FUNCTIONS) == sorted(calls(folder))


@pytest.mark.usefixtures("_stopped")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_number_is_taken_or_refused(folder, monkeypatch, name):
    monkeypatch.chdir(folder)
    function, (positional, named) = getattr(latprof, name), calls(folder)[name]
    wrong = []
    for parameter, is_sequence in numeric(name):
        more = named | WITH.get((name, parameter), {})
        values = {key: (value, set()) for key, value in NEVER.items()} | SOMETIMES
        for key, (value, may) in values.items():
            if is_sequence and isinstance(value, list | np.ndarray | bytes):
                continue
            given = [value] if is_sequence else value
            if parameter == "shapes":
                given = {"x": (1, 3, value, 8)}
            if parameter == "input_shape":
                given = (3, value, 8)
                positional, more = positional[:2], {"name": "mine"}
            words = ("m.onnx",) if (name, parameter) == ("predict", "shapes") else positional
            found = outcome(function, words, more | {parameter: given})
            if found != "refused" and not (found == "taken" and parameter in may):
                wrong.append((parameter, key, found))
    assert not wrong


# Records and spaces -------------------------------------------------------------------------------

MADE = {
    **{
        f"PairedProtocol {field}": lambda value, field=field: latprof.PairedProtocol(
            **{field: value}
        )
        for field in ("rounds", "visits", "burst_ms", "min_runs", "half_width", "max_visits")
    },
    "RunOptions batch_size": lambda value: latprof.RunOptions(batch_size=value),
    "RunOptions threads": lambda value: latprof.RunOptions(threads=value),
    "space resolution": lambda value: latprof.get_space("proxyless", resolution=value),
    "space num_classes": lambda value: latprof.get_space("proxyless", num_classes=value),
    "sample n": lambda value: latprof.get_space("proxyless").sample(value),
    "sample seed": lambda value: latprof.get_space("proxyless").sample(1, seed=value),
    "onnx batch_size": lambda value: latprof.get_space("proxyless").onnx_bytes(
        latprof.get_space("proxyless").parse(NETWORK), batch_size=value
    ),
    "onnx seed": lambda value: latprof.get_space("proxyless").onnx_bytes(
        latprof.get_space("proxyless").parse(NETWORK), seed=value
    ),
    "choices": lambda value: latprof.get_space("proxyless").choices(
        [latprof.Architecture("proxyless", (value,) * 21)]
    ),
    "spelling": lambda value: latprof.get_space("proxyless").parse(f"{value}," * 20 + "0"),
    "curve shape": lambda value: predict_curve("m.onnx", shapes={"x": (1, 3, (8, value), 8)}),
    "curve batches": lambda value: predict_curve("m.onnx", batch_sizes=(1, value)),
    "curve upper": lambda value: predict_curve("m.onnx", batch_sizes=(1, 2), upper=value),
    "keys": lambda value: make_keys("keys", days=value),
    "milliseconds": ms,
    **{
        f"{name} {option.name}": lambda value, name=name, option=option: get_searcher(
            name, **{option.name: value}
        )
        for name in searcher_names()
        if dataclasses.is_dataclass(searcher_class(name))
        for option in dataclasses.fields(searcher_class(name))
        if option.init and re.search(r"\b(?:int|float)\b", str(option.type))
    },
}


@pytest.mark.parametrize("name", MADE)
def test_records_spaces_and_searchers_refuse_what_is_no_number_of_theirs(name, folder, monkeypatch):
    monkeypatch.chdir(folder)
    never = NEVER.keys() - ({"text", "huge"} if name == "spelling" else set())  # as text
    found = {key: outcome(MADE[name], (NEVER[key],), {}) for key in sorted(never)}
    assert {key: each for key, each in found.items() if each != "refused"} == {}
