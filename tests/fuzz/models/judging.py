"""Models read and predicted in a process that may die of them, within 10 s and 1 GB."""

import json
import resource
import subprocess
import sys
import threading
import traceback
from pathlib import Path

import psutil

from latprof.errors import LatprofError
from tests.fuzz.outcomes import BAD

MOST_S, MOST_BYTES = 10.0, 1 << 30
#: A guard against hangs in seconds, far above what a busy machine takes.
WALL_S = 900.0
ROOT = Path(__file__).parents[3]


def work():
    """Judge the models whose paths come in, a line of JSON each, until there are no more."""
    import latprof
    from latprof.graph.guarded.inference import start_early

    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
    pack = latprof.load_pack("proxyless-cpu-ort1")
    start_early()
    for line in sys.stdin:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        begun = cpu_seconds()
        outcome, detail = judge(json.loads(line), pack)
        seconds, peak = cpu_seconds() - begun, peak_bytes()
        if seconds > MOST_S:
            outcome, detail = BAD, f"{seconds:.1f} s of CPU time; {detail}"
        if peak > MOST_BYTES:
            outcome, detail = BAD, f"{peak >> 20} MiB; {detail}"
        print(json.dumps([outcome, detail[:2000], seconds, peak]), flush=True)


def judge(path, pack):
    import latprof
    from latprof.graph.reader import read_network
    from latprof.profilers.visits.network_source import NetworkSource

    try:
        read_network(path)
    except LatprofError as error:
        return (BAD, "an endless message") if len(str(error)) > 500 else ("refused", str(error))
    except BaseException:
        return BAD, traceback.format_exc()
    try:
        NetworkSource.of_model(path)  # what a measurement reads before it runs anything
    except LatprofError:
        pass
    except BaseException:
        return BAD, traceback.format_exc()
    try:
        answer = latprof.predict(path, pack)
    except LatprofError as error:
        return "read, not predicted", str(error)
    except BaseException:
        return BAD, traceback.format_exc()
    finite = 0 <= answer.latency_ms < float("inf")
    return ("predicted", "") if finite else (BAD, f"{answer.latency_ms} ms")


def cpu_seconds():
    """CPU time of this process and its children, alive and dead."""
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        total += usage.ru_utime + usage.ru_stime
    for child in psutil.Process().children(recursive=True):
        try:
            times = child.cpu_times()
            total += times.user + times.system
        except psutil.Error:
            continue
    return total


def peak_bytes():
    """Largest resident set of this process, with the largest of its children."""

    def of(pid):
        try:
            lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
        except OSError:
            return 0
        return next((int(x.split()[1]) << 10 for x in lines if x.startswith("VmHWM")), 0)

    children = [of(child.pid) for child in psutil.Process().children(recursive=True)]
    dead = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10
    return of("self") + max([dead, *children], default=0)


class Judge:
    """The process, replaced when it dies or hangs."""

    def __init__(self):
        self.process = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def __call__(self, path):
        """Outcome and detail."""
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz.models.judging"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
        timer = threading.Timer(WALL_S, self.process.kill)
        timer.start()
        try:
            self.process.stdin.write(json.dumps(str(path)) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except OSError:
            line = ""
        finally:
            timer.cancel()
        if not line:
            self.process.wait()
            code = self.process.returncode
            self.close()
            return BAD, f"the process died: {code}"
        outcome, detail, _seconds, _peak = json.loads(line)
        if outcome == BAD:  # its peak stays with it
            self.close()
        return outcome, detail

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


if __name__ == "__main__":
    work()
