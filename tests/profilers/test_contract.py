"""Every profiler here passes the contract suite."""

from latprof.profilers.runtimes.cpu.cpu_onnxruntime import CpuOnnxRuntime
from latprof.testing.contract import ProfilerContract
from latprof.testing.fakes import FakeProfiler


class TestCpuOnnxRuntime(ProfilerContract):
    def make(self, options):
        return CpuOnnxRuntime(options)


class TestFakeProfiler(ProfilerContract):
    def make(self, options):
        return FakeProfiler(options)
