"""The contract suite of profilers: subclass it in your own tests.

::

    class TestMyProfiler(ProfilerContract):
        @pytest.fixture
        def make_profiler(self):
            return MyProfiler  # or a function from RunOptions to a profiler
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import ClassVar, TypeAlias

import numpy as np
import pytest

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import DeviceError, InvalidValueError, UnsupportedModelError
from latprof.measurement.protocol import measure_paired
from latprof.measurement.records import PairedProtocol
from latprof.profilers.base import Profiler, RunOptions

MakeProfiler: TypeAlias = Callable[[RunOptions], Profiler]


class ProfilerContract:
    """What :class:`latprof.profilers.base.Profiler` promises, as tests for pytest.

    A subclass gives the fixture ``make_profiler``, which needs to be of a device that measures
    here.
    """

    #: Whether the runtime can time kernels; where not, ``load_profiled`` must say so.
    reports_kernels: ClassVar[bool] = True

    @pytest.fixture
    def make_profiler(self) -> MakeProfiler:
        """From options to the profiler under test."""
        raise NotImplementedError("the subclass gives the fixture `make_profiler`")

    @pytest.fixture
    def profiler(self, make_profiler: MakeProfiler) -> Profiler:
        """The profiler under test with its default options."""
        return make_profiler(RunOptions())

    @pytest.fixture
    def model(self) -> bytes:
        """A small real network."""
        return _network(large=False)

    @pytest.fixture
    def larger_model(self) -> bytes:
        """A network on the same images, with more operators and several times the work."""
        return _network(large=True)

    # Identity ------------------------------------------------------------------------------

    def test_target_spelling_is_the_profilers(self, profiler: Profiler) -> None:
        assert profiler.target(None).spelling == profiler.spelling != ""

    def test_target_identity_is_stable_and_holds_the_options(
        self, make_profiler: MakeProfiler
    ) -> None:
        options = RunOptions(batch_size=2, threads=2)
        first, again = (make_profiler(options).target((2, 3, 8, 8)) for _ in range(2))
        other = make_profiler(RunOptions(batch_size=2, threads=1)).target((2, 3, 8, 8))
        assert first == again
        assert first != other
        assert (first.batch_size, first.threads, first.input_shape) == (2, 2, (2, 3, 8, 8))
        assert RunOptions.of_target(first) == options

    def test_target_names_the_device_and_the_versions(self, profiler: Profiler) -> None:
        target = profiler.target(None)
        assert target.device
        assert target.device_name
        assert target.runtime
        assert target.runtime_version

    def test_every_mode_and_precision_makes_another_target(
        self, make_profiler: MakeProfiler, profiler: Profiler
    ) -> None:
        for name in profiler.modes:
            word = f"{name}1" if name.endswith("=") else name
            found = make_profiler(RunOptions(mode=(word,))).target(None)
            assert found.mode == word
            assert found != profiler.target(None)
        for precision in profiler.precisions:
            found = make_profiler(RunOptions(precision=precision)).target(None)
            assert found.precision == precision
            assert RunOptions.of_target(found) == RunOptions(precision=precision)

    def test_other_modes_and_precisions_are_refused(self, make_profiler: MakeProfiler) -> None:
        for options in (RunOptions(precision="float13"), RunOptions(mode=("no-such-mode",))):
            with pytest.raises(InvalidValueError):
                make_profiler(options)

    def test_availability_says_ready_where_it_measures(self, profiler: Profiler) -> None:
        availability = profiler.availability()
        assert availability.state == "ready"
        assert availability.detail

    # Runs ----------------------------------------------------------------------------------

    def test_run_returns_as_many_positive_finite_durations_as_asked(
        self, profiler: Profiler, model: bytes
    ) -> None:
        loaded = profiler.load(model)
        for times in (1, 5):
            durations = list(loaded.run(times))
            assert len(durations) == times
            assert all(0 < ms < math.inf for ms in durations)

    def test_more_work_takes_longer(
        self, profiler: Profiler, model: bytes, larger_model: bytes
    ) -> None:
        larger, smaller = profiler.load(larger_model), profiler.load(model)
        samples = measure_paired(larger, smaller, PairedProtocol(rounds=3))
        assert np.median(np.concatenate(samples.target)) > np.median(
            np.concatenate(samples.reference)
        )

    def test_two_loads_live_side_by_side(self, profiler: Profiler, model: bytes) -> None:
        first, second = profiler.load(model), profiler.load(model)
        samples = measure_paired(first, second, PairedProtocol(rounds=1))
        assert len(samples.target) == 1
        assert len(samples.reference) == 2

    def test_a_path_as_text_or_path_is_loaded_too(
        self, profiler: Profiler, model: bytes, tmp_path: Path
    ) -> None:
        path = tmp_path / "model.onnx"
        path.write_bytes(model)
        for source in (path, str(path)):
            assert len(profiler.load(source).run(2)) == 2

    def test_what_is_prepared_can_be_loaded(self, profiler: Profiler, model: bytes) -> None:
        assert len(profiler.prepare(model)().run(2)) == 2

    def test_garbage_is_refused_and_the_next_model_is_loaded(
        self, profiler: Profiler, model: bytes
    ) -> None:
        for garbage in (b"this is no model", b"", model[: len(model) // 2]):
            with pytest.raises(UnsupportedModelError):
                profiler.load(garbage)
        assert len(profiler.load(model).run(2)) == 2

    def test_conditions_are_finite_numbers(self, profiler: Profiler) -> None:
        conditions = profiler.conditions()
        assert all(isinstance(name, str) and name for name in conditions)
        assert all(math.isfinite(value) for value in conditions.values())

    # Kernels -------------------------------------------------------------------------------

    def test_kernel_times_are_in_order_and_add_up_to_a_run_or_are_refused(
        self, profiler: Profiler, model: bytes
    ) -> None:
        if not self.reports_kernels:
            with pytest.raises(DeviceError):
                profiler.load_profiled(model)
            return
        profiled = profiler.load_profiled(model)
        durations = list(profiled.run(5))
        kernels = profiled.kernel_times([2, 3, 4])

        assert len(durations) == 5
        assert [kernel.position for kernel in kernels] == list(range(len(kernels)))
        assert all(kernel.kind and kernel.name for kernel in kernels)
        assert all(0 <= kernel.latency_ms < math.inf for kernel in kernels)
        # Wide: a profiler slows a run down. Another unit is a factor of a thousand.
        total_ms = sum(kernel.latency_ms for kernel in kernels)
        assert 0.02 < total_ms / float(np.median(durations[2:])) < 50


@cache
def _network(*, large: bool) -> bytes:
    """ProxylessNAS on small images: its largest blocks, or no block that can be left out."""
    space = ProxylessSpace(widths=(8,) * 9, resolution=64, num_classes=10)
    choices = np.where(large, 5, np.where(space.num_choices == 7, 6, 0)).astype(np.uint8)
    return space.onnx_bytes(space.architectures(choices[None])[0])
