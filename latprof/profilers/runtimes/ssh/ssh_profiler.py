"""``ssh:HOST:RUNTIME``: the processor of a computer behind ``ssh``, a Raspberry Pi for example."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from latprof.errors import DeviceError, UsageError
from latprof.profilers.base import Availability, Profiler
from latprof.profilers.runtimes.cpu.cpu_litert import CpuLiteRT
from latprof.profilers.runtimes.cpu.cpu_onnxruntime import CpuOnnxRuntime
from latprof.profilers.runtimes.ssh.ssh_host import SshHost, ssh_program

if TYPE_CHECKING:
    from latprof.graph.model_file import ModelSource
    from latprof.measurement.protocol import LoadedModel
    from latprof.measurement.records import Target


class SshProfiler(Profiler):
    """A runtime on the processor of another computer; :meth:`at` gives the profiler of one.

    The measuring process is the same as for this computer's processor, and runs there with the
    latprof that is installed there, of the same version as here. References, conditions, clocks and
    pinned cores are that computer's; what travels during a visit is one request and one answer.

    :meth:`target` asks the computer what it is, once in a process, and raises DeviceError where it
    cannot be reached or lacks what is needed.
    """

    runs_here = False
    runs_on_host = True
    #: The profiler of the same runtime there.
    there: ClassVar[type[Profiler]]
    #: The computer; None in the class that all of them share.
    host: ClassVar[SshHost | None] = None

    @classmethod
    def at(cls, address: str) -> type[Self]:
        """The profiler of the computer ``address``: ``HOST``, ``USER@HOST``, and ``:PORT``."""
        host = SshHost(address, cls.there.spelling)
        spelling = cls.spelling.replace("HOST", address)
        return type(cls.__name__, (cls,), {"host": host, "spelling": spelling})

    @classmethod
    def availability(cls) -> Availability:
        program = ssh_program()
        if program is None:
            return Availability("missing", "there is no ssh program", "install OpenSSH's client")
        return Availability("ready", f"through {program}; latprof has to be on the computer too")

    @property
    def measuring_host(self) -> SshHost:
        if self.host is None:
            raise UsageError(
                "the name of a computer is missing", expected=self.spelling, field="target"
            )
        return self.host

    def target(self, input_shape: tuple[int, ...] | None) -> Target:
        host = self.measuring_host
        facts = host.facts()
        if not set(self.options.cores) <= set(facts.cores):
            raise UsageError(
                f"no such cores on {host.name}",
                field="cores",
                expected=f"of {','.join(map(str, facts.cores))}",
                got=",".join(map(str, self.options.cores)),
            )
        name, version = facts.processor, facts.runtime_version
        runtime = self.spelling.rpartition(":")[2]
        return self.identity(host.name, name, runtime, version, input_shape)

    @property
    def caution(self) -> str:
        cores = len(self.options.cores or self.measuring_host.facts().cores)
        if self.options.threads <= cores:
            return ""
        return (
            f"{self.options.threads} threads have {cores} core{'s' * (cores > 1)} on "
            f"{self.measuring_host.name}, so they take turns: the latency is that of threads that "
            "wait for one another"
        )

    def surroundings(self) -> dict[str, Any]:
        return self.measuring_host.surroundings()

    def load(self, model: ModelSource) -> LoadedModel:  # noqa: ARG002 - of the contract
        """Raise DeviceError: models are loaded on the computer, by a profiler of its own."""
        raise DeviceError(f"{self.spelling} loads models in measuring processes there only")


class SshOnnxRuntime(SshProfiler):
    """ONNX Runtime there."""

    spelling = "ssh:HOST:onnxruntime"
    there = CpuOnnxRuntime
    precisions = CpuOnnxRuntime.precisions
    modes: ClassVar = CpuOnnxRuntime.modes
    exclusive_modes = CpuOnnxRuntime.exclusive_modes


class SshLiteRT(SshProfiler):
    """LiteRT with XNNPACK there."""

    spelling = "ssh:HOST:litert"
    there = CpuLiteRT
    precisions = CpuLiteRT.precisions
    own_formats = CpuLiteRT.own_formats
