"""Profilers that each break one requirement; ``breaks`` names the tests that must say so."""

import dataclasses
import math
from pathlib import Path
from types import MappingProxyType

import pytest

from latprof.errors import DeviceError, RuntimeFailedError, UnsupportedModelError
from latprof.profilers.base import Availability, RunOptions
from latprof.testing.fakes import FakeModel, FakeProfiler
from latprof.testing.profiler_contract import ProfilerContract


class Broken(ProfilerContract):
    Made = FakeProfiler

    @pytest.fixture
    def make_profiler(self):
        return self.Made


class TestOtherSpelling(Broken):
    breaks = ("test_target_spelling_is_the_profilers",)

    class Made(FakeProfiler):
        spelling = "fake:other"


class TestOptionsLost(Broken):
    breaks = ("test_target_identity_is_stable_and_holds_the_options",)

    class Made(FakeProfiler):
        def target(self, input_shape):
            return FakeProfiler(RunOptions()).target(input_shape)


class TestNoVersion(Broken):
    breaks = ("test_target_names_the_device_and_the_versions",)

    class Made(FakeProfiler):
        def target(self, input_shape):
            return dataclasses.replace(super().target(input_shape), runtime_version="")


class TestModeLost(Broken):
    breaks = ("test_every_mode_and_precision_makes_another_target",)

    class Made(FakeProfiler):
        modes = MappingProxyType({"fast": "runs fast"})

        def target(self, input_shape):
            return dataclasses.replace(super().target(input_shape), mode="")


class TestAnyOptions(Broken):
    breaks = ("test_other_modes_and_precisions_are_refused",)

    class Made(FakeProfiler):
        def __init__(self, options):
            super().__init__(RunOptions())
            self.options = options


class TestNeverReady(Broken):
    breaks = ("test_availability_says_ready_where_it_measures",)

    class Made(FakeProfiler):
        @classmethod
        def availability(cls):
            return Availability("missing", "not here")


class TestOneRunMissing(Broken):
    breaks = ("test_run_returns_as_many_positive_finite_durations_as_asked",)

    class Made(FakeProfiler):
        def load(self, model):
            loaded = super().load(model)
            run = loaded.run
            loaded.run = lambda times: run(times)[1:]
            return loaded


class TestConstant(Broken):
    breaks = ("test_more_work_takes_longer",)

    class Made(FakeProfiler):
        def load(self, model):
            super().load(model)
            return FakeModel(1.0, lambda latency_ms: latency_ms)


class TestOneLoadOnly(Broken):
    breaks = ("test_two_loads_live_side_by_side",)

    class Made(FakeProfiler):
        def load(self, model):
            loaded = self.newest = super().load(model)
            run = loaded.run

            def run_if_newest(times):
                if loaded is not self.newest:
                    raise RuntimeFailedError("another network was loaded")
                return run(times)

            loaded.run = run_if_newest
            return loaded


class TestNoPaths(Broken):
    breaks = ("test_a_path_as_text_or_path_is_loaded_too",)

    class Made(FakeProfiler):
        def load(self, model):
            if isinstance(model, str | Path):
                raise UnsupportedModelError("bytes only")
            return super().load(model)


class TestNothingPrepared(Broken):
    breaks = ("test_what_is_prepared_can_be_loaded",)

    class Made(FakeProfiler):
        def prepare(self, model):
            return lambda: None


class TestGarbage(Broken):
    breaks = ("test_garbage_is_refused_and_the_next_model_is_loaded",)

    class Made(FakeProfiler):
        def load(self, model):
            try:
                return super().load(model)
            except UnsupportedModelError:
                return FakeModel(1.0, lambda latency_ms: latency_ms)


class TestNoNumber(Broken):
    breaks = ("test_conditions_are_finite_numbers",)

    class Made(FakeProfiler):
        def conditions(self):
            return {"temperature": math.nan}


KERNELS = ("test_kernel_times_are_in_order_and_add_up_to_a_run_or_are_refused",)


class TestKernelTimesRaise(Broken):
    breaks = KERNELS

    class Made(FakeProfiler):
        def load_profiled(self, model):
            loaded = super().load_profiled(model)

            def refuse(_counted):
                raise DeviceError("no kernels today")

            loaded.kernel_times = refuse
            return loaded


class TestKernelsAreRefused(Broken):
    breaks = KERNELS

    class Made(FakeProfiler):
        def load_profiled(self, model):
            raise DeviceError("no kernels at all")


class TestKernelsInMicroseconds(Broken):
    breaks = KERNELS

    class Made(FakeProfiler):
        def load_profiled(self, model):
            loaded = super().load_profiled(model)
            loaded.kernels = [
                dataclasses.replace(kernel, latency_ms=1000 * kernel.latency_ms)
                for kernel in loaded.kernels
            ]
            return loaded


class TestKernelsOutOfOrder(Broken):
    breaks = KERNELS

    class Made(FakeProfiler):
        def load_profiled(self, model):
            loaded = super().load_profiled(model)
            loaded.kernels = loaded.kernels[::-1]
            return loaded


class TestKernelsThoughItTimesNone(Broken):
    breaks = KERNELS
    reports_kernels = False
