"""Packs with errors in them are refused, or change nothing; and what very large packs take.

Takes ``tests/predictors/pack/packs``, damages one half of the mutants and forges the other
(:mod:`tests.fuzz.damaged_packs`, :mod:`tests.fuzz.forged_packs`), and loads each in a process of
its own kind: at most 4 GiB of address space, 20 s of a processor a pack, warnings are errors. An
outcome is one of

- refused: with an error of latprof's own;
- the same: everything in the pack, and its answers to the bit, are the original's;
- another valid pack: forged with fitting digests into one that answers with finite numbers;
- bad: anything else. A crash, a time-out, another exception, other answers without a sign.

``python -m benchmarks.mutations`` prints the figures of the documents, ``python -m tests.fuzz
packs`` resumes. Exits with status 1 where one is bad.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.errors import InvalidValueError, LatprofError
from tests.fuzz.damaged_packs import DAMAGE
from tests.fuzz.forged_packs import FORGERIES, PACKS, Forged
from tests.fuzz.large_packs import LARGE

if TYPE_CHECKING:
    from latprof.predictors.pack.pack import Pack

LIMIT_S = 20.0
#: A guard against hangs in seconds, far above what a busy machine takes.
WALL_S = 300.0
_ADDRESS_SPACE = 4 << 30
_ROOT = Path(__file__).parents[2]
REFUSED, SAME, OTHER, BAD = "refused", "the same", "another valid pack", "bad"


# In the child ------------------------------------------------------------------------------


def work() -> None:
    """Judge the packs whose paths come in, a line of JSON each, until there are no more."""
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    warnings.simplefilter("error")
    for line in sys.stdin:
        job = json.loads(line)
        begun = time.process_time()
        outcome, detail = judge(Path(job["path"]), job["original"], forged=job["forged"])
        if (seconds := time.process_time() - begun) > LIMIT_S:
            outcome, detail = BAD, "took too long"
        answer = {"outcome": outcome, "detail": detail, "peak_mib": _peak_mib()}
        print(json.dumps(answer | {"seconds": seconds}), flush=True)


def _peak_mib() -> int:
    """Largest resident set of this process in MiB; that of a parent does not count."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next((int(x.split()[1]) >> 10 for x in lines if x.startswith("VmHWM")), 0)


def judge(path: Path, original: str, *, forged: bool) -> tuple[str, str]:
    """The outcome of one mutant, and what to say of it."""
    try:
        return _judged(path, original, forged=forged)
    except BaseException as error:
        return BAD, repr(error)[:300]


def _judged(path: Path, original: str, *, forged: bool) -> tuple[str, str]:
    from latprof.predictors.pack.saving import load_pack

    try:
        pack = load_pack(path)
    except LatprofError as error:
        return REFUSED, str(error)
    try:
        found = content(pack)
        if found == original_content(original):
            return SAME, ""
        if forged:
            return (OTHER, "") if usable(pack) else (BAD, "answers that are not finite")
    except LatprofError as error:  # a lookup table without an entry, and the like
        if forged:
            return OTHER, str(error)
        raise
    return BAD, "other content without a sign"


def content(pack: Pack) -> tuple[object, ...]:
    """Everything that a pack says: its files as they would be written again, and its answers."""
    from latprof.predictors.pack.manifest import pack_to_files

    manifest, files = pack_to_files(pack)
    prediction = pack.predict(questions(pack))
    answers = (prediction.latency_ms, prediction.low_ms, prediction.high_ms, prediction.distance)
    arrays = [None if each is None else each.tobytes() for each in answers]
    return (manifest, tuple(sorted(files.items())), prediction.coverage, *arrays)


def questions(pack: Pack) -> Any:
    """Twenty architectures; none with a candidate that a lookup table has not seen."""
    choices = pack.space.canonical(pack.space.sample_choices(500, seed=2024))
    counts = getattr(pack.predictor, "counts_", None)
    if counts is not None:
        choices = choices[counts[np.arange(choices.shape[1]), choices].all(axis=1)]
    return choices[:20]


@lru_cache(maxsize=32)
def original_content(name: str) -> tuple[object, ...]:
    """The same of the pack that a mutant was made of."""
    from latprof.predictors.pack.saving import load_pack

    return content(load_pack(PACKS / name))


def usable(pack: Pack) -> bool:
    """Whether all that a pack answers are finite numbers in order, expectations included."""
    from latprof.predictors.gradients.expectation import expectation_of

    choices = questions(pack)
    prediction = pack.predict(choices)
    answers = [prediction.latency_ms, prediction.low_ms, prediction.high_ms]
    if prediction.distance is not None:
        answers += [prediction.distance, pack.predictor.predict(choices, upper=0.5)]
    terms = pack.predictor.terms()  # what as_torch is made from, without torch
    assert terms is not None
    expected = expectation_of(terms, pack.space.num_choices.tolist())
    answers += [expected.linear_ms, np.array(expected.intercept_ms)]
    ordered = bool(np.all(prediction.low_ms <= prediction.high_ms))
    return ordered and all(bool(np.isfinite(each).all()) for each in answers)


# In the parent -----------------------------------------------------------------------------


@dataclass
class Worker:
    """A child that judges mutants, replaced when it dies or takes too long."""

    process: subprocess.Popen[str] | None = None

    def judge(self, job: dict[str, Any], limit_s: float = WALL_S) -> dict[str, Any]:
        """The child's answer, with the seconds of a processor that it took."""
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz.pack_mutants", "--worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=_ROOT,
            )
        process, start = self.process, time.perf_counter()
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(limit_s, process.kill)
        timer.start()
        try:
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""
        finally:
            timer.cancel()
        if not line:
            self.close()
            seconds = time.perf_counter() - start
            why = "took too long" if seconds >= limit_s else f"died: {process.returncode}"
            return {"outcome": BAD, "detail": why, "peak_mib": 0, "seconds": seconds}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the child."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


@dataclass
class Report:
    """What became of the mutants."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    peak_mib: int = 0

    def add(self, job: dict[str, Any], answer: dict[str, Any]) -> None:
        """Count an answer."""
        kind = "forged" if job["forged"] else "damaged"
        label = f"{job['number']} {job['how']} of {job['original']}"
        self.outcomes[kind, answer["outcome"]] += 1
        self.slowest = max(self.slowest, (answer["seconds"], label))
        self.peak_mib = max(self.peak_mib, answer["peak_mib"])
        if answer["outcome"] == BAD:
            self.bad.append(f"{label}: {answer['detail']}")
            print("BAD", self.bad[-1], flush=True)

    def print(self) -> None:
        """Print the table."""
        outcomes = (REFUSED, SAME, OTHER, BAD)
        print(f"{'mutants':10}" + "".join(f"{each:>20}" for each in outcomes))
        for kind in ("damaged", "forged"):
            counts = (self.outcomes[kind, each] for each in outcomes)
            print(f"{kind:10}" + "".join(f"{count:20,}" for count in counts))
        print(f"slowest: {self.slowest[0]:.1f} s ({self.slowest[1]})")
        print(f"largest resident set of a child: {self.peak_mib} MiB")


def mutants(numbers: range, seed: int, folder: Path) -> Iterator[dict[str, Any]]:
    """Write mutants one after the other; a number is the same mutant in every range."""
    packs = sorted(PACKS.glob("*.pack"))
    for number in numbers:
        random = np.random.default_rng([seed, number])
        original = packs[number // 2 % len(packs)]
        path = folder / f"{number}.pack"
        forged = bool(number % 2)
        try:
            if forged:
                forge = FORGERIES[int(random.integers(len(FORGERIES)))]
                name, pack = forge.__name__, Forged.of(original)
                forge(random, pack)
                pack.write(path)
            else:
                damage = DAMAGE[int(random.integers(len(DAMAGE)))]
                name = damage.__name__
                path.write_bytes(damage(random, original.read_bytes()))
        except InvalidValueError:  # more than the writer lets through
            continue
        yield {
            "number": number,
            "path": str(path),
            "original": original.name,
            "forged": forged,
            "how": name,
        }


def run(numbers: range, seed: int = 0, workers: int = 2) -> Report:
    """Judge the mutants of these numbers."""
    report, lock = Report(), threading.Lock()
    with tempfile.TemporaryDirectory() as folder:
        jobs = mutants(numbers, seed, Path(folder))

        def one_worker(_number: int) -> None:
            worker = Worker()
            try:
                while True:
                    with lock:
                        job = next(jobs, None)
                    if job is None:
                        return
                    answer = worker.judge(job)
                    Path(job["path"]).unlink()
                    with lock:
                        report.add(job, answer)
            finally:
                worker.close()

        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(one_worker, range(workers)))
    return report


def large() -> list[str]:
    """Print what loading and asking very large packs takes; return those that go wrong."""
    bad = []
    print(f"{'large pack':36}{'KiB':>8}{'s':>8}{'MiB':>8}  outcome")
    with tempfile.TemporaryDirectory() as folder:
        for number, (label, make) in enumerate(LARGE.items()):
            path = Path(folder) / f"{number}.pack"
            worker = Worker()
            try:
                make().write(path)
                job = {"path": str(path), "original": "format2-linear.pack", "forged": True}
                answer = worker.judge(job)
            finally:
                worker.close()
            told = f"{answer['outcome']}: {answer['detail'][:60]}".rstrip(": ")
            size = path.stat().st_size >> 10
            print(f"{label:36}{size:8,}{answer['seconds']:8.1f}{answer['peak_mib']:8,}  {told}")
            bad += [label] if answer["outcome"] == BAD else []
    return bad


def main() -> None:
    """Print what became of the mutants; exits with status 1 where one is bad."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--no-large", action="store_true", help="mutants only")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work()
        return
    report = run(range(arguments.count), arguments.seed, arguments.workers)
    report.print()
    if report.bad or (not arguments.no_large and large()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
