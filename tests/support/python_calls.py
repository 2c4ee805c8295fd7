"""Every function that ``latprof`` hands on with arguments, for tests that try others."""

import functools
import math
import signal

from command_line import LONGEST_S

import latprof
from latprof.errors import LatprofError

NETWORK = "1,0,6,6,2,0,1,1,5,1,1,1,4,1,1,1,5,5,2,2,5"
PACK = "proxyless-cpu-ort1"
SHAPES = {"x": (1, 3, 8, 8)}


@functools.cache
def loaded():
    """The pack, read once for all that is tried."""
    return latprof.load_pack(PACK)


@functools.cache
def answered():
    """A prediction."""
    return latprof.predict(NETWORK)


def imported(folder):
    """A store that knows of a commit."""
    if not (folder / "runs.db").exists():
        latprof.import_runs(folder / "runs.json", folder / "runs.db")
    return folder / "runs.db"


def calls(folder):
    """Arguments of each function, with which it comes to its end or to its first visit."""
    model, store = folder / "m.onnx", folder / "lat.db"
    return {
        "android": (("setup", folder / "none.so"), {}),
        "check_budgets": ((answered(), "> 5 ms"), {}),
        "collect": (
            (),
            {"space": "proxyless", "resolution": 32, "n": 1, "store": folder / "new.db"},
        ),
        "compare": ((model, model), {"shapes": SHAPES}),
        "history": ((imported(folder), "a"), {}),
        "predict": ((NETWORK,), {}),
        "profile": ((model,), {"shapes": SHAPES}),
        "search": (
            (),
            {"pack": loaded(), "accuracy": math.fsum, "budget": 3, "store": folder / "new.db"},
        ),
        "space_from_function": ((str, [(1, 2)] * 2, (3, 32, 32)), {"name": "mine"}),
        "sweep": ((model,), {"shapes": SHAPES}),
        "train": ((store,), {"predictor": "linear", "compare": False}),
        "verify": ((loaded(), NETWORK), {"other_target": True}),
        "zoo": (("squeezenet-1.1",), {}),
    }


#: What else an argument needs.
WITH = {
    ("collect", "max_visits"): {"half_width": 0.01},
    ("profile", "max_visits"): {"half_width": 0.01},
    ("sweep", "max_visits"): {"half_width": 0.01},
    ("collect", "shapes"): {"models": "m.onnx", "space": None, "resolution": None, "n": None},
    ("search", "visits"): {"verify": True, "other_target": True},
    ("search", "wait_quiet_s"): {"verify": True, "other_target": True},
    ("search", "image_size"): {"data": "digits", "accuracy": None},
    ("search", "epochs"): {"data": "digits", "accuracy": None},
    ("collect", "tune_trials"): {"target": "cpu:tvm"},
    ("profile", "tune_trials"): {"target": "cpu:tvm"},
    ("compare", "tune_trials"): {"target": "cpu:tvm"},
    ("sweep", "tune_trials"): {"target": "cpu:tvm"},
}


class Started(BaseException):
    """The first thing that takes time would have begun."""


class Hanging(BaseException):
    """A call did not come back."""


def stop_python(replace):
    """Whatever would take long ends a call; ``replace`` is a ``setattr``."""
    from latprof.profilers.visits.measuring_process import ProcessMeasurer
    from latprof.workflows import search_request

    def start(*_arguments, **_options):
        raise Started

    for name in ("start", "await_start", "prepare", "visit", "profile"):
        replace(ProcessMeasurer, name, start)
    replace(search_request, "search_in_store", start)


def outcome(function, positional, named):
    """How a call ends: it is refused, it goes on, or what else it raises."""

    def hang(*_signal):
        raise Hanging

    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(LONGEST_S)
    try:
        function(*positional, **named)
    except Started:
        return "taken"
    except Hanging:
        return "hangs"
    except LatprofError as error:
        return "refused" if len(str(error)) < 1000 else f"a message of {len(str(error))} letters"
    except Exception as error:
        return repr(error)[:200]
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return "taken"
