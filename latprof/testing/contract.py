"""The contract suite that every profiler passes: subclass it in your own tests.

::

    class TestMyProfiler(ProfilerContract):
        def make(self, options):
            return MyProfiler(options)
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import InvalidValueError, LatprofError, UnsupportedModelError
from latprof.measurement.protocol import measure_paired
from latprof.measurement.records import PairedProtocol
from latprof.profilers.base import Profiler, RunOptions


class ProfilerContract:
    """What :class:`latprof.profilers.base.Profiler` promises, as tests for pytest."""

    def make(self, options: RunOptions) -> Profiler:
        """Return the profiler under test."""
        raise NotImplementedError

    @pytest.fixture
    def model(self) -> bytes:
        """A small real network."""
        space = ProxylessSpace(widths=(8,) * 9, resolution=64, num_classes=10)
        content: bytes = space.build_onnx(space.sample(1)[0]).SerializeToString()
        return content

    def test_target_spelling_is_the_profilers(self) -> None:
        profiler = self.make(RunOptions())
        assert profiler.target(None).spelling == profiler.spelling

    def test_target_identity_is_stable_and_holds_the_options(self) -> None:
        first = self.make(RunOptions(batch_size=2, threads=2)).target((2, 3, 8, 8))
        again = self.make(RunOptions(batch_size=2, threads=2)).target((2, 3, 8, 8))
        other = self.make(RunOptions(batch_size=2, threads=1)).target((2, 3, 8, 8))
        assert first == again
        assert first != other
        assert (first.batch_size, first.threads, first.input_shape) == (2, 2, (2, 3, 8, 8))

    def test_every_mode_and_precision_makes_another_target(self) -> None:
        plain = self.make(RunOptions())
        for word in plain.modes:
            word = f"{word}1" if word.endswith("=") else word  # noqa: PLW2901
            found = self.make(RunOptions(mode=(word,))).target(None)
            assert found.mode == word
            assert found != plain.target(None)
        for precision in plain.precisions:
            found = self.make(RunOptions(precision=precision)).target(None)
            assert found.precision == precision
            assert RunOptions.of_target(found) == RunOptions(precision=precision)

    def test_other_modes_and_precisions_are_refused(self) -> None:
        for options in (RunOptions(precision="float13"), RunOptions(mode=("no-such-mode",))):
            with pytest.raises(InvalidValueError):
                self.make(options)

    def test_run_returns_as_many_positive_finite_durations_as_asked(self, model: bytes) -> None:
        loaded = self.make(RunOptions()).load(model)
        for times in (1, 5):
            durations = list(loaded.run(times))
            assert len(durations) == times
            assert all(0 < ms < math.inf for ms in durations)

    def test_a_path_is_text_or_a_path(self, model: bytes, tmp_path: Path) -> None:
        path = tmp_path / "model.onnx"
        path.write_bytes(model)
        for source in (path, str(path)):
            assert len(list(self.make(RunOptions()).load(source).run(1))) == 1

    def test_two_loads_live_side_by_side(self, model: bytes) -> None:
        profiler = self.make(RunOptions())
        first, second = profiler.load(model), profiler.load(model)
        samples = measure_paired(first, second, PairedProtocol(rounds=1))
        assert len(samples.target) == 1
        assert len(samples.reference) == 2

    def test_garbage_is_refused_with_one_of_our_errors(self) -> None:
        with pytest.raises(UnsupportedModelError):
            self.make(RunOptions()).load(b"this is no model")

    def test_kernel_times_are_in_order_and_positive_or_refused(self, model: bytes) -> None:
        try:
            profiled = self.make(RunOptions()).load_profiled(model)
            assert len(profiled.run(5)) == 5
            kernels = profiled.kernel_times([2, 3, 4])
        except LatprofError:
            return
        assert [kernel.position for kernel in kernels] == list(range(len(kernels)))
        assert all(kernel.latency_ms >= 0 for kernel in kernels)
        assert sum(kernel.latency_ms for kernel in kernels) > 0

    def test_availability_says_ready_where_it_measures(self) -> None:
        availability = self.make(RunOptions()).availability()
        assert availability.state == "ready"
        assert availability.detail
