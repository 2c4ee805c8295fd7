"""Runners of this computer, with the libraries that the runtimes' wheels hold."""

import contextlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from command_line import LONGEST_S

from latprof.common.children.child import Child
from latprof.graph.convert.skeletons import Fill, fill_values
from latprof.profilers.runtimes.android.runner.runner_client import (
    RunnerClient,
    RunnerTimeouts,
    runner_program,
)

PATIENT = RunnerTimeouts(start_s=LONGEST_S, open_s=LONGEST_S, load_s=LONGEST_S, ask_s=LONGEST_S)


def library(package, pattern):
    """A library of an installed package; skips the test without it."""
    found = importlib.util.find_spec(package)
    if found is None:
        pytest.skip(f"{package} is not installed")
    return str(next(Path(found.origin).parent.glob(pattern)))


def litert():
    return library("ai_edge_litert", "libLiteRt.so")


def onnxruntime():
    return library("onnxruntime", "capi/libonnxruntime.so*")


@contextlib.contextmanager
def a_process(*command):
    """A child that is the runner, or what runs it."""
    command = command or (str(runner_program("x86_64-linux")),)
    with Child(str(Path(__file__).with_name("run_program.py")), *map(str, command)) as child:
        yield child


@contextlib.contextmanager
def a_runner(path=None, timeouts=PATIENT, command=()):
    """A client of a runner, with a library open where one is given."""
    with a_process(*command) as child:
        client = RunnerClient(child, timeouts)
        if path:
            client.open_library(path)
        yield client


def random_input(info, seed):
    """The values that the runner makes for a float32 input."""
    count = int(np.prod(info.shape))
    return fill_values(Fill(0, count, float(np.float32(1.7320508)), seed)).reshape(info.shape)
