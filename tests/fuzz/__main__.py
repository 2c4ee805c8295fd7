"""Fuzzers at any length: ``python -m tests.fuzz NAME [--count N] [--seed S]``.

Prints what became of the inputs, and exits with status 1 where one is bad. What is done is kept in
the folder ``--state``: the same command goes on where it was stopped, and a larger count adds to
it. An input is made from the seed and its number only.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from latprof.common.files import write_atomically

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))  # as pytest does

from tests.fuzz import (
    arguments,
    foreign_models,
    importer_files,
    kills,
    network,
    pack_mutants,
    phone_faults,
    phone_restore,
    signals,
    stores,
    thermal_pages,
)
from tests.fuzz.models import attacks, odd_models, random_graphs, true_shapes
from tests.fuzz.outcomes import BAD


def packs(numbers: range, seed: int, _folder: Path) -> Iterable[tuple[str, str, str]]:
    """Packs of :mod:`tests.fuzz.pack_mutants`, in processes of their own."""
    report = pack_mutants.run(numbers, seed)
    for (kind, outcome), count in report.outcomes.items():
        details = report.bad if outcome == BAD else [""]
        for number in range(count):
            yield kind, outcome, details[number % len(details)]


@dataclass(frozen=True)
class Fuzzer:
    """What makes inputs and judges them; so many at full length, kept after each ``chunk``."""

    run: Callable[[range, int, Path], Iterable[tuple[str, str, str]]]
    count: int
    chunk: int


FUZZERS = {
    "packs": Fuzzer(packs, 3000, 200),
    "pickles": Fuzzer(importer_files.fuzz_pickles, 100_000, 2000),
    "torch-files": Fuzzer(importer_files.fuzz_torch_files, 50_000, 2000),
    "text-files": Fuzzer(importer_files.fuzz_text_files, 50_000, 2000),
    "words": Fuzzer(arguments.fuzz_words, 4000, 400),
    "paths": Fuzzer(arguments.fuzz_paths, 1500, 150),
    "stores": Fuzzer(stores.fuzz_stores, 3000, 100),
    "kills": Fuzzer(kills.kill, 1000, 50),
    "signals": Fuzzer(signals.interrupt, 300, 60),
    "network": Fuzzer(network.count, 15, 5),
    "thermals": Fuzzer(thermal_pages.read, 50_000, 5000),
    "phone-restore": Fuzzer(phone_restore.put_back, 200, 26),
    "model-mutants": Fuzzer(attacks.fuzz_mutants, 20_000, 1000),
    "tiny-models": Fuzzer(attacks.fuzz_tiny, 100, 10),
    "odd-models": Fuzzer(odd_models.fuzz_odd, 336, 56),
    "random-graphs": Fuzzer(random_graphs.fuzz_graphs, 20_000, 1000),
    "true-shapes": Fuzzer(true_shapes.fuzz_shapes, 20_000, 1000),
    "external-data": Fuzzer(attacks.fuzz_external, 77, 77),
    "phone-faults": Fuzzer(phone_faults.faults, 1200, 24),
    "foreign-models": Fuzzer(foreign_models.measure, 120, 20),
}


def fuzz(fuzzer: Fuzzer, count: int, seed: int, state: Path) -> dict[str, dict[str, int]]:
    """How many inputs of each kind came to which end, after ``count`` of them."""
    done, found, bad = 0, Counter[tuple[str, str]](), list[str]()
    if state.exists():
        kept = json.loads(state.read_text(encoding="utf-8"))
        done, bad = kept["done"], kept["bad"]
        found.update(
            {(kind, end): n for kind, ends in kept["found"].items() for end, n in ends.items()}
        )
    while done < count:
        numbers = range(done, min(count, done + fuzzer.chunk))
        with tempfile.TemporaryDirectory() as folder:
            for kind, outcome, detail in fuzzer.run(numbers, seed, Path(folder)):
                found[kind, outcome] += 1
                bad += [detail] if outcome == BAD else []
        done = numbers.stop
        values = {"done": done, "bad": bad, "found": _nested(found)}
        write_atomically(state, json.dumps(values, indent=1).encode())
        print(f"{done:,} of {count:,}", file=sys.stderr, flush=True)
    for detail in bad:
        print("BAD", detail)
    return _nested(found)


def _nested(found: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    kinds = sorted({kind for kind, _ in found})
    return {kind: {end: n for (k, end), n in sorted(found.items()) if k == kind} for kind in kinds}


def main() -> None:
    """Run one fuzzer and print its table."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("name", choices=FUZZERS)
    parser.add_argument("--count", type=int, help="inputs, those of earlier runs included")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--state", type=Path, default=Path(".fuzz"))
    arguments = parser.parse_args()
    fuzzer = FUZZERS[arguments.name]
    arguments.state.mkdir(parents=True, exist_ok=True)
    state = arguments.state / f"{arguments.name}-{arguments.seed}.json"
    found = fuzz(fuzzer, arguments.count or fuzzer.count, arguments.seed, state)
    width = max(24, 2 + max(map(len, found), default=0))
    print(f"{'kind':{width}}{'outcome':28}{'inputs':>10}")
    for kind, ends in found.items():
        for end, count in ends.items():
            print(f"{kind:{width}}{end:28}{count:10,}")
    if any(BAD in ends for ends in found.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
