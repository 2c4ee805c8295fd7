"""``tvm-rpc:HOST:PORT/KEY``: a device behind a tracker of Apache TVM's RPC.

The network is compiled here for the device's processor, sent there, and timed there by the device's
own clock, so that the network between plays no part. The tracker (``python -m
tvm.exec.rpc_tracker``) hands out a device with the key for one session, which lasts as long as the
measuring process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import importlib.metadata
import itertools
import shutil
import socket
import struct
import tempfile
import time
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from latprof.errors import DeviceError, InvalidValueError, RuntimeFailedError
from latprof.profilers.base import Availability, Profiler, RunOptions
from latprof.profilers.runtimes.running import first_line, package_availability
from latprof.profilers.runtimes.tvm.cpu_tvm import MAIN, UNTUNED
from latprof.profilers.runtimes.tvm.tvm_build import (
    PROCESSORS,
    Kernels,
    TargetWords,
    compiled,
    fused_kernels,
    host_cpuinfo,
    host_processor,
    linker,
    quiet,
    visible_target,
    write_library,
)

if TYPE_CHECKING:
    from latprof.graph.model_file import ModelSource
    from latprof.measurement.records import Target

#: Longest wait for the tracker's answer, in seconds.
ANSWER_TIMEOUT_S = 5.0
#: Longest wait for a device that is in use, in seconds.
BUSY_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class TrackerAddress:
    """Where the tracker listens, and the key of the device that is asked of it."""

    host: str
    port: int
    key: str

    @classmethod
    def parse(cls, text: str) -> TrackerAddress:
        """Read ``HOST:PORT/KEY``; raises InvalidValueError for anything else."""
        place, _, key = text.partition("/")
        host, _, port = place.rpartition(":")
        if not (host and key and port.isdecimal() and 0 < int(port) < 1 << 16):
            raise InvalidValueError(
                "not the address of a device behind a TVM tracker",
                field="target",
                expected="tvm-rpc:HOST:PORT/KEY",
                got=f"tvm-rpc:{text}",
            )
        return cls(host.strip("[]"), int(port), key)


class RemoteTVM(Profiler):
    """Measures on a device that TVM's RPC reaches, through the virtual machine that runs there.

    :meth:`at` makes the profiler of one address. The device is asked for its processor; one whose
    TVM has no compiler cannot tell, and the mode says it. Kernels are not tuned.
    """

    spelling = "tvm-rpc:HOST:PORT/KEY"
    runs_here = False
    modes: ClassVar = {name: f"the device's processor is {name}" for name in PROCESSORS}
    exclusive_modes = (frozenset(PROCESSORS),)
    address: ClassVar[TrackerAddress | None] = None

    def __init__(self, options: RunOptions) -> None:
        super().__init__(options)
        self._connection: Connection | None = None

    @classmethod
    def at(cls, address: str) -> type[Self]:
        return type(
            cls.__name__,
            (cls,),
            {"spelling": f"tvm-rpc:{address}", "address": TrackerAddress.parse(address)},
        )

    @classmethod
    def availability(cls) -> Availability:
        found = package_availability("apache-tvm", "Apache TVM", "tvm")
        if found.state != "ready":
            return found
        version = importlib.metadata.version("apache-tvm")
        return dataclasses.replace(found, detail=f"Apache TVM {version}; {UNTUNED}")

    @property
    def caution(self) -> str:
        return f"{self.spelling}: {UNTUNED}"

    def target(self, input_shape: tuple[int, ...] | None) -> Target:
        version = importlib.metadata.version("apache-tvm")
        name = self._known_address.key
        return self.identity(self.spelling, name, "tvm", version, input_shape)

    def load(self, model: ModelSource) -> RemoteModel:
        if self._connection is None:
            self._connection = Connection(self._known_address)
        target = self._processor(self._connection)
        kernels = fused_kernels(model, target, self.input_seed, self.input_rules)
        link = linker(str(target["mtriple"]))
        directory = Path(tempfile.mkdtemp(prefix="latprof-"))
        path = directory / f"network{next(_NUMBERS)}{'.so' if link else '.tar'}"
        loaded = RemoteModel(self._connection, kernels, path, self.options.threads)
        weakref.finalize(loaded, shutil.rmtree, directory, ignore_errors=True)
        write_library(compiled(kernels), path, link)
        loaded.send()
        return loaded

    def conditions(self) -> dict[str, float]:
        """Nothing: TVM's RPC does not tell a device's clocks and temperatures."""
        return {}

    @property
    def _known_address(self) -> TrackerAddress:
        if self.address is None:
            raise InvalidValueError(
                "the address of a device is missing", expected=self.spelling, field="target"
            )
        return self.address

    def _processor(self, connection: Connection) -> TargetWords:
        """The processor to compile for, as the mode says or the device answers."""
        for word in self.options.mode:
            return {**PROCESSORS[word], "num-cores": self.options.threads}
        answer = connection.processor()
        if answer is None:
            raise DeviceError(
                f"{self.spelling} cannot tell its processor",
                hint=f"say it with --mode {', '.join(PROCESSORS)}",
            )
        return {**answer, "num-cores": self.options.threads}


class RemoteModel:
    """A network on the device; it is sent again where the session was lost since."""

    def __init__(self, connection: Connection, kernels: Kernels, path: Path, threads: int) -> None:
        self._connection, self._inputs = connection, kernels.inputs
        self._path, self._threads = path, threads
        self._session: Any = None
        self.machine: Any = None

    def send(self) -> None:
        """Send the network and its input to the device, where they are not there yet."""
        session = self._connection.session()
        if session is self._session:
            return
        with self._connection.lost_with("the network cannot be loaded on the device"), quiet():
            import tvm
            from tvm import relax

            any_core = 1
            session.get_function("runtime.config_threadpool")(any_core, self._threads)
            session.upload(str(self._path))
            module = session.load_module(self._path.name)
            self.machine = relax.VirtualMachine(module, session.cpu())
            values = [tvm.runtime.tensor(value, session.cpu()) for value in self._inputs]
            self.machine.set_input(MAIN, *values)
        self._session = session

    def run(self, times: int) -> list[float]:
        """Durations by the device's clock; the device runs once more before, uncounted."""
        self.send()
        try:
            with self._connection.lost_with("the device failed while running"), quiet():
                evaluate = self.machine.time_evaluator(
                    "invoke_stateful", self._session.cpu(), number=1, repeat=times
                )
                return [float(seconds) * 1000 for seconds in evaluate(MAIN).results]
        except RuntimeFailedError:
            self._session = self.machine = None  # they would keep the device in use
            raise


class Connection:
    """A session with a device, opened when it is needed, and anew after it was lost."""

    def __init__(self, address: TrackerAddress) -> None:
        self.address = address
        self._session: Any = None

    def session(self) -> Any:
        """TVM's session; raises DeviceError as :func:`request_device`."""
        if self._session is None:
            from tvm import rpc

            url, port, key = request_device(self.address)
            try:
                with quiet():
                    self._session = rpc.connect(url, port, key)
            except Exception as error:  # noqa: BLE001 - TVM's exceptions have no common base
                raise DeviceError(
                    f"the device {self.address.key!r} at {url}:{port} does not answer: "
                    f"{first_line(error)}",
                    hint="see whether its rpc_server runs and may be reached from here",
                ) from None
        return self._session

    def processor(self) -> dict[str, Any] | None:
        """What the device's own compiler takes its processor for; None where it has none."""
        session = self.session()
        try:
            triple = session.get_function("target.llvm_get_system_triple")()
            name = session.get_function("target.llvm_get_system_cpu")()
        except Exception:  # noqa: BLE001 - a function that is not there, in several ways
            return None
        # A server sends none of /proc. Where the device is of this computer's own model, often this
        # computer, the same instructions are hidden there.
        cpuinfo = host_cpuinfo() if str(name) == host_processor() else ""
        return visible_target(str(triple), str(name), cpuinfo)

    @contextlib.contextmanager
    def lost_with(self, problem: str) -> Iterator[None]:
        """Give the session up after an error in it, as RuntimeFailedError."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - TVM's exceptions have no common base
            self._session = None
            raise RuntimeFailedError(f"{problem}: {first_line(error)}") from None


def request_device(address: TrackerAddress) -> tuple[str, int, str]:
    """Ask a tracker for a device; return its host, port and the key of this session.

    Raises DeviceError for a tracker that does not answer, a key without devices, and devices that
    stay in use for :data:`BUSY_TIMEOUT_S`.
    """
    from tvm.rpc.base import TrackerCode

    with _tracker(address) as ask:
        deadline = time.monotonic() + BUSY_TIMEOUT_S
        while not _is_free(ask([TrackerCode.SUMMARY]), address.key):
            gc.collect()  # TVM's objects are cycles: a network given up here still holds a device
            if time.monotonic() >= deadline:
                raise _busy(address)
            time.sleep(0.2)
        try:
            url, port, key = ask([TrackerCode.REQUEST, address.key, "", 1])
        except TimeoutError:  # somebody else was faster
            raise _busy(address) from None
    return str(url), int(port), str(key)


@contextlib.contextmanager
def _tracker(address: TrackerAddress) -> Iterator[Any]:
    """A function that asks the tracker something and returns its answer."""
    from tvm.rpc import base

    def ask(question: list[Any]) -> Any:
        base.sendjson(connection, question)
        code, answer = base.recvjson(connection)
        if code != base.TrackerCode.SUCCESS:
            raise ValueError(f"code {code}")
        return answer

    try:
        with socket.create_connection((address.host, address.port), ANSWER_TIMEOUT_S) as connection:
            connection.sendall(struct.pack("<i", base.RPC_TRACKER_MAGIC))
            if struct.unpack("<i", base.recvall(connection, 4))[0] != base.RPC_TRACKER_MAGIC:
                raise ValueError("it is no RPC tracker")
            yield ask
    except (OSError, ValueError, TypeError, KeyError, struct.error) as error:
        raise DeviceError(
            f"the TVM tracker at {address.host}:{address.port} does not answer: "
            f"{first_line(error)}",
            hint="start it with python -m tvm.exec.rpc_tracker, or correct the address",
        ) from None


def _is_free(summary: Mapping[str, Any], key: str) -> bool:
    """Whether a device with the key waits for work; raises DeviceError where there is none."""
    keys = {str(server["key"]).removeprefix("server:") for server in summary["server_info"]}
    if key not in keys:
        raise DeviceError(
            f"the TVM tracker has no device with the key {key!r}",
            expected=f"one of {', '.join(sorted(keys))}" if keys else None,
            hint="start python -m tvm.exec.rpc_server --tracker HOST:PORT --key KEY on the device",
        )
    return bool(summary["queue_info"].get(key, {}).get("free", 0))


def _busy(address: TrackerAddress) -> DeviceError:
    return DeviceError(
        f"every device with the key {address.key!r} is in use",
        hint=f"none came free within {BUSY_TIMEOUT_S:g} s; wait for it, or end the other session",
    )


#: Names of the files on a device differ within its session.
_NUMBERS = itertools.count()
