"""Every profiler that needs nothing but its runtime passes the contract suite."""

import pytest

from latprof.profilers.targets import profiler_class, target_spellings
from latprof.testing.fakes import FakeProfiler
from latprof.testing.profiler_contract import ProfilerContract

#: Those whose suite stands with their other tests: they want small models, a cache, a device.
ELSEWHERE = {"cpu:litert", "cpu:openvino", "cpu:torch", "cpu:tvm"}
OF_THIS_HOST = {name for name in target_spellings() if name.startswith("cpu:")}


class TestProfilersOfThisHost(ProfilerContract):
    @pytest.fixture(params=sorted(OF_THIS_HOST - ELSEWHERE))
    def make_profiler(self, request):
        return profiler_class(request.param)


class TestFakeProfiler(ProfilerContract):
    @pytest.fixture
    def make_profiler(self):
        return FakeProfiler


def test_no_profiler_of_this_host_is_without_a_suite():
    assert ELSEWHERE <= OF_THIS_HOST
    assert OF_THIS_HOST - ELSEWHERE
