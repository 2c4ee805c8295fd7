"""A farm as processes: a scheduler, workers with simulated devices, and what they listen on.

As a program, ``python farm_processes.py ADDRESS KEYS LABEL DEVICES SECONDS``, it is a worker whose
devices compute their times, each visit taking so many seconds.
"""

import contextlib
import math
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
#: A guard against hangs in seconds, far above what a busy machine takes.
LONGEST_S = 300
_SCHEDULER = "from latprof.cli.main import main; main()"


class Program:
    """A process whose stderr is read along; a context manager that kills it."""

    def __init__(self, *words: object, env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=env,
            cwd=ROOT,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    @property
    def pid(self):
        return self.process.pid

    def wait_for(self, text: str) -> str:
        """The first line with a text."""
        deadline = time.monotonic() + LONGEST_S
        while True:
            found = [line for line in self.lines if text in line]
            if found:
                return found[0]
            assert self.process.poll() is None, self.lines
            assert time.monotonic() < deadline, self.lines
            time.sleep(0.02)

    def ended(self):
        """Its exit status, when it has ended by itself."""
        status = self.process.wait(LONGEST_S)
        self._reader.join(LONGEST_S)
        return status

    def kill(self, how: int = signal.SIGKILL) -> None:
        self.process.send_signal(how)
        self.process.wait(LONGEST_S)

    def __enter__(self):
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(LONGEST_S)
        self.process.stdout.close()


def environment(folder: Path) -> dict[str, str]:
    """Variables of a farm's processes: ``fake:clock`` is a target, no keys but the named ones."""
    from latprof.testing.distributions import write_distribution

    place = Path(folder) / "plugin"
    if not place.exists():
        place.mkdir()
        points = {"latprof.profilers": {"fake:clock": "latprof.testing.fakes:FakeProfiler"}}
        write_distribution(place, "fake-devices", {}, points)
    path = os.pathsep.join([str(place), str(ROOT), os.environ.get("PYTHONPATH", "")])
    # What those leave behind that are killed lies in the test's folder, too.
    there = {"XDG_CONFIG_HOME": str(folder), "TMPDIR": str(folder)}
    return {**os.environ, "PYTHONPATH": path, **there}


@contextlib.contextmanager
def scheduler(folder, keys=None, port=0):
    """A scheduler; yields it and its address."""
    words = ["farm", "start", "--port", port]
    words += ["--keys", keys] if keys else []
    with Program("-c", _SCHEDULER, *words, env=environment(folder)) as program:
        line = program.wait_for("the farm is ready")
        address = line.split()[-1]
        if keys:
            address = f"tls://127.0.0.1:{address.rpartition(':')[2]}"
        yield program, address


def worker(
    folder: Path,
    address: str,
    label: str,
    devices: int = 1,
    seconds: float = 0.0,
    keys: Path | None = None,
) -> Program:
    """A worker with simulated devices, which has joined; it looks for a new scheduler often."""
    words = (address, keys or "-", label, devices, seconds)
    program = Program(__file__, *words, env=environment(folder) | {"AGAIN_EVERY_S": "0.5"})
    program.wait_for("joined")
    return program


def latprof(folder: Path, *words: object, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run the command line in the farm's environment."""
    return subprocess.run(
        [sys.executable, "-c", _SCHEDULER, *map(str, words)],
        capture_output=True,
        text=True,
        env=environment(folder),
        timeout=LONGEST_S,
        check=False,
        cwd=folder,
        **options,
    )


def listening(*pids: int) -> set[tuple[str, int]]:
    """The addresses and ports that processes and their descendants listen on, from /proc."""
    import psutil

    found = set()
    for pid in pids:
        every = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        inodes = set()
        for process in every:
            for entry in Path(f"/proc/{process.pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    inodes.add(str(entry.readlink()))
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                    address, _, port = fields[1].partition(":")
                    found.add((address, int(port, 16)))
    return found


#: 127.0.0.1 and ::1 as /proc/net writes them.
LOOPBACK = {"0100007F", "00000000000000000000000001000000"}


class Cable:
    """Carries bytes to a port of this computer, until it is cut; a context manager."""

    def __init__(self, port: int) -> None:
        self._port, self._lock = port, threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._unaware: set[socket.socket] = set()
        self._is_cut = False
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End all connections, and let nobody through."""
        with self._lock:
            self._is_cut = True
            for pair in self._pairs:
                self._end(*pair)

    def mend(self) -> None:
        self._is_cut = False

    def cut_near(self) -> None:
        """End all connections at this end; at the port nobody notices until they are told."""
        with self._lock:
            for here, there in self._pairs:
                self._unaware.add(there)
                self._end(here)

    def tell(self) -> None:
        """Have the port notice what was cut near."""
        with self._lock:
            told, self._unaware = self._unaware, set()
        self._end(*told)

    def _end(self, *ends: socket.socket) -> None:
        for end in {*ends} - self._unaware:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listening.accept()
            except OSError:
                return
            with self._lock:
                if self._is_cut:
                    here.close()
                    continue
                try:
                    there = socket.create_connection(("127.0.0.1", self._port))
                except OSError:  # nobody listens there now
                    here.close()
                    continue
                self._pairs.append((here, there))
            for ends in ((here, there), (there, here)):
                threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, source, to) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                to.sendall(piece)
        self._end(source, to)

    def __enter__(self):
        return self

    def __exit__(self, *exception: object) -> None:
        self.cut()
        self._listening.close()
        for pair in self._pairs:
            for end in pair:
                end.close()


def true_ratio(key: str) -> float:
    """What a simulated network takes, as a multiple of the reference."""
    return math.exp(random.Random(key).uniform(-1.0, 1.0))


class EmptyMeasurer:
    """Visits that take nothing but a time that is given.

    Their ratios are those of the networks, times a specimen's factor, with noise of 1 %.
    """

    def __init__(self, seconds, process, factor):
        self._seconds, self._process, self._factor = seconds, process, factor
        self._random = random.Random(process)

    def visit(self, network):
        from latprof.measurement.records import PairedSamples
        from latprof.measurement.visits import Visit

        ratio = true_ratio(network.subject.key) * self._factor
        ratio *= math.exp(0.01 * self._random.gauss(0.0, 1.0))
        samples = PairedSamples(((2 * ratio, ratio, ratio),) * 2, ((2.0, 1.0, 1.0),) * 3)
        started_at, start = time.time(), time.perf_counter()
        time.sleep(self._seconds)
        wall_s = time.perf_counter() - start
        return Visit(
            started_at=started_at,
            wall_s=wall_s,
            load_s=0.0,
            process=self._process,
            samples=samples,
        )

    def expect(self, networks):
        pass

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass


def main(address, keys, label, devices, seconds):
    from latprof.farm import FarmDevice, device_tasks, join, joining
    from latprof.profilers.base import RunOptions
    from latprof.profilers.visits.measurer import InProcessMeasurer
    from latprof.testing.fakes import FakeProfiler

    clock, made = time.time, []

    class SlowMeasurer(InProcessMeasurer):
        def visit(self, network):
            time.sleep(float(seconds))
            made.append(network)
            if os.environ.get("FAILS") == label:
                from latprof.measurement.visits import Failure, Visit

                failure = Failure("runtime-failed", "told to")
                return Visit(
                    started_at=time.time(), wall_s=0.0, load_s=0.0, process="", failure=failure
                )
            return super().visit(network)

    @contextlib.contextmanager
    def simulated(_target, options, reference, protocol, **_rest):
        def make(runs):
            process = f"{label}/{os.getpid()}/{time.monotonic_ns()}"
            if os.environ.get("EMPTY"):
                factor = float(os.environ.get(f"FACTOR_{label}", "1"))
                return EmptyMeasurer(float(seconds), process, factor)
            profiler = FakeProfiler(RunOptions.from_dict(options.to_dict()), noise=0.001)
            return SlowMeasurer(profiler, reference, protocol, process, runs)

        yield make

    setattr(device_tasks, "measurers", simulated)  # noqa: B010 - of the module that uses them
    joining.AGAIN_EVERY_S = float(os.environ.get("AGAIN_EVERY_S", joining.AGAIN_EVERY_S))
    if offs := os.environ.get("CLOCK_OFF_S"):
        steps = [float(off) for off in offs.split()]
        time.time = lambda: clock() + steps[len(made) // 8 % len(steps)]
    names = [label] if int(devices) == 1 else [f"{label}-{n}" for n in range(int(devices))]
    join(
        address,
        keys=None if keys == "-" else keys,
        label=label,
        devices=[FarmDevice(f"sim@{name}", ("fake:clock",), "simulated") for name in names],
        on_note=lambda text: print(text, flush=True),
    )


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main(*sys.argv[1:])
