"""What profilers share: inputs of random numbers, timed runs, one line of a runtime's error."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.errors import DynamicShapeError, RuntimeFailedError, UnsupportedModelError
from latprof.profilers.base import Availability
from latprof.profilers.host.facts import processor_name

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


def package_availability(package: str, name: str, extra: str = "") -> Availability:
    """Whether a runtime of this computer's processor is installed, without loading it.

    Parameters
    ----------
    package : str
        Its distribution.
    name : str
        What people call it.
    extra : str
        The extra of latprof that installs it; without one, the package itself is named.
    """
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        wanted = f"'latprof[{extra}]'" if extra else package
        return Availability("missing", f"{name} is not installed", f"pip install {wanted}")
    return Availability("ready", f"{name} {version} on {processor_name()}")


def timed_runs(run: Callable[[], object], times: int, runtime: str) -> list[float]:
    """Run so many times; return the durations in milliseconds.

    Raises RuntimeFailedError with the first line of whatever ``run`` raises.
    """
    clock = time.perf_counter_ns
    durations = []
    try:
        for _ in range(times):
            start = clock()
            run()
            durations.append((clock() - start) / 1e6)
    except Exception as error:  # noqa: BLE001 - runtimes' exceptions have no common base
        raise RuntimeFailedError(f"{runtime} failed while running: {first_line(error)}") from None
    return durations


def first_line(error: Exception) -> str:
    """The first line of an error's text, shortened in its middle."""
    lines = str(error).strip().splitlines()
    if not lines:
        return type(error).__name__
    # Runtimes put their own source's path and signature before what they have to say.
    text = lines[0]
    return text if len(text) <= 300 else f"{text[:80]} ... {text[-215:]}"


def random_inputs(
    inputs: Mapping[str, tuple[Sequence[object], DTypeLike]], seed: int
) -> dict[str, NDArray[Any]]:
    """Random values for a model's inputs, in order: normal for floats, 1 to 7 for integers.

    Parameters
    ----------
    inputs : mapping of str to (shape, dtype)
        A shape that is not all positive integers is dynamic.
    seed : int

    Raises
    ------
    DynamicShapeError
        For a shape that is not fixed.
    UnsupportedModelError
        For what does not fit into memory.
    """
    wanted = tuple((name, tuple(shape), np.dtype(dtype)) for name, (shape, dtype) in inputs.items())
    return {name: values.copy() for name, values in _random_inputs(wanted, seed).items()}


@lru_cache(maxsize=1)  # most networks of a campaign have the same input
def _random_inputs(
    wanted: tuple[tuple[str, tuple[object, ...], np.dtype[Any]], ...], seed: int
) -> dict[str, NDArray[Any]]:
    generator = np.random.default_rng(seed)
    return {name: _random_input(name, shape, dtype, generator) for name, shape, dtype in wanted}


def _random_input(
    name: str, shape: Sequence[object], dtype: np.dtype[Any], generator: np.random.Generator
) -> NDArray[Any]:
    sizes = [size for size in shape if isinstance(size, int) and size > 0]
    if len(sizes) != len(shape):
        raise DynamicShapeError(
            f"input {name!r} has the dynamic shape {list(shape)}",
            hint=f"give it with --shape {name}=1,3,224,224 (with the right numbers)",
        )
    values: NDArray[Any]
    try:
        if dtype.kind == "b":
            values = generator.random(sizes) < 0.5
        elif dtype.kind in "iu":  # valid indices
            values = generator.integers(1, 8, sizes)
        else:
            values = generator.standard_normal(sizes)
        return values.astype(dtype)
    except (MemoryError, ValueError):  # ValueError: more elements than an array may have
        raise UnsupportedModelError(
            f"input {name!r} does not fit into memory",
            got="x".join(map(str, shape)),
            hint="take a smaller batch or resolution",
        ) from None
