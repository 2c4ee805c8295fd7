"""Searches whose optimum is known: real trainings, real latencies.

Usage: ``python -m benchmarks.searchers --data FOLDER [--seeds 20] [--only TEXT] [--method NAME]
[--all] [--check]``

FOLDER holds ``nasbench-macro``, ``nasbench201-accuracy`` and ``help`` (docs/importing.md).
Problems: NAS-Bench-Macro with the latencies that come with latprof, and NAS-Bench-201 with three
devices of HELP and the test accuracies of three data sets; limits at four percentiles of latency.

*Evaluations* is how many networks' accuracies were asked for until one within the limit was within
0.1 points of the true optimum, as a ratio to what random search needs on average: (m + 1) / (k + 1)
where k of m networks within the limit are good enough (exact, drawn without replacement). Some
searches have not come there after the budget; the number is the expected running time of a search
that is then started again with another seed: all evaluations of all seeds over the seeds that came
there (Auger and Hansen 2005). *Share of the front* is the hypervolume of what 500 evaluations found
over that of the true front.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.datasets import load
from latprof.datasets.importers.accuracies import load_nasbench201_accuracies, load_nasbench_macro
from latprof.datasets.importers.collections.help import load_help
from latprof.datasets.spaces.named import space_from_description
from latprof.predictors.models.hybrid import HybridPredictor
from latprof.searchers import (
    ArchitectureTable,
    LatencyTable,
    Searcher,
    SearchProblem,
    best_of,
    get_searcher,
    pareto_front,
)

if TYPE_CHECKING:
    from latprof.searchers.base import LatencySource

Floats: TypeAlias = NDArray[np.float64]

MACRO = "nasbench-macro-cpu-ort1-b4"
DEVICES = ("gold_6226", "pixel2", "1080ti_1")
DATA_SETS = ("cifar10-test", "cifar100-test", "imagenet-test")
PERCENTILES = (30, 50, 70, 90)
#: The first so many of them are the tightest limits.
TIGHTEST = 2
NEAR = 0.1
#: Methods whose evaluations are counted, and the most that are made.
METHODS: dict[str, dict[str, Any]] = {
    "random": {},
    "evolution": {},
    "mnas": {},
    "netadapt": {},
    "nsga2": {},
}
#: Methods that think for seconds: a quarter of the seeds, and CIFAR-10 alone unless --all is given.
COSTLY = {"mnas", "nsga2"}
BUDGET = 1000
FRONT_BUDGET = 500
#: Of the front's share: plain NSGA-II beside the one with a model.
FRONT_METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "nsga2": ("nsga2", {}),
    "nsga2, model=False": ("nsga2", {"model": False}),
    "evolution": ("evolution", {}),
    "random": ("random", {}),
}
#: Networks measured for the predictor in the loop.
ROWS = 300


@dataclass(frozen=True, eq=False)
class Known:
    """One problem: every network's accuracy and latency, and the front's reference accuracy."""

    name: str
    accuracy: ArchitectureTable
    latency: LatencyTable
    least_accuracy: float | None

    @property
    def accuracies(self) -> Floats:
        """In the order of the latencies' table."""
        return self.accuracy(self.latency.choices)

    def limits(self) -> list[float]:
        """The limits in milliseconds."""
        return [float(np.percentile(self.latency.values, percent)) for percent in PERCENTILES]


def problems(folder: Path, latencies: str) -> Iterator[Known]:
    """All problems whose data are there."""
    frame = load(latencies)
    space = space_from_description(frame.attrs["space"])
    macro = load_nasbench_macro(next((folder / "nasbench-macro").glob("*.json")))
    rows = [space.parse(text) for text in frame["architecture"]]
    yield Known(
        "nasbench-macro",
        ArchitectureTable(space, macro.choices, macro.accuracy_percent["cifar10-test"]),
        LatencyTable(space, rows, frame["latency_ms"].to_numpy()),
        90.0,
    )
    trained = load_nasbench201_accuracies(folder / "nasbench201-accuracy" / "accuracy.csv")
    assert trained.space is not None
    for device in DEVICES:
        measured = load_help(folder / "help", "nasbench201", device)
        assert measured.choices is not None
        table = LatencyTable(trained.space, measured.choices, measured.latency_ms)
        for data_set in DATA_SETS:
            accuracy = trained.accuracy_percent[data_set]
            yield Known(
                f"nasbench201 {device} {data_set.removesuffix('-test')}",
                ArchitectureTable(trained.space, trained.choices, accuracy),
                table,
                85.0 if data_set == "cifar10-test" else None,
            )


# Evaluations until the optimum ------------------------------------------------------------


def goal(known: Known, limit_ms: float) -> tuple[float, float]:
    """Accuracy that counts as found, and the evaluations that random search needs on average."""
    inside = known.latency.values <= limit_ms
    wanted = float(known.accuracies[inside].max()) - NEAR
    good = int((inside & (known.accuracies >= wanted)).sum())
    return wanted, (int(inside.sum()) + 1) / (good + 1)


def evaluations(
    searcher: Searcher, known: Known, latency: LatencySource, limit_ms: float, seed: int
) -> int | None:
    """Evaluations until a network that truly keeps the limit is near the optimum, if ever."""
    wanted, _ = goal(known, limit_ms)
    problem = SearchProblem(latency, known.accuracy, limit_ms=limit_ms)
    for number, step in enumerate(searcher.search(problem, BUDGET, seed=seed), start=1):
        if step.accuracy >= wanted and known.latency([step.architecture])[0] <= limit_ms:
            return number
    return None


@dataclass(frozen=True)
class Reached:
    """Searches of one method for one problem, by limit.

    ``ratios`` are expected running times over random search's, ``errors`` their standard errors by
    bootstrap, ``shares`` of the seeds came there within the budget. ``cpu_s`` is the processor time
    of a search of the whole budget.
    """

    ratios: Floats
    errors: Floats
    shares: Floats
    cpu_s: float


def _reached(known: Known, method: str, seeds: int) -> Reached:
    """How soon a method's searches come near the optimum."""
    searcher = get_searcher(method, **METHODS[method])
    generator = np.random.default_rng(0)
    ratios, errors, shares = [], [], []
    for limit in known.limits():
        found = [evaluations(searcher, known, known.latency, limit, seed) for seed in range(seeds)]
        spent = np.array([BUDGET if number is None else number for number in found])
        there = np.array([number is not None for number in found])
        expected = goal(known, limit)[1]
        again = generator.integers(0, seeds, (1000, seeds))
        ratios.append(_running_time(spent, there) / expected)
        errors.append(_running_time(spent[again], there[again]).std() / expected)
        shares.append(there.mean())
    begun = time.process_time()
    list(searcher.search(SearchProblem(known.latency, known.accuracy, limit), BUDGET))
    cpu_s = time.process_time() - begun
    return Reached(np.array(ratios), np.array(errors), np.array(shares), cpu_s)


def _running_time(spent: NDArray[np.int_], there: NDArray[np.bool_]) -> Floats:
    """All evaluations over the successes, of the last axis; without one, as if there were one."""
    time: Floats = spent.sum(axis=-1) / np.maximum(there.sum(axis=-1), 1)
    return time


# Fronts ---------------------------------------------------------------------------------


def hypervolume(accuracy: Floats, latency_ms: Floats, most_ms: float, least: float) -> float:
    """Area between the front of what is better than (most_ms, least) and that point."""
    front = pareto_front(accuracy, latency_ms)
    front = front[(accuracy[front] > least) & (latency_ms[front] < most_ms)]
    ends = np.append(latency_ms[front][1:], most_ms)
    return float(((ends - latency_ms[front]) * (accuracy[front] - least)).sum())


def _front_shares(known: Known, method: str, seeds: int) -> Floats:
    """Share of the true front's hypervolume, shape (seeds,)."""
    assert known.least_accuracy is not None
    name, options = FRONT_METHODS[method]
    corner = (float(known.latency.values.max()), known.least_accuracy)
    whole = hypervolume(known.accuracies, known.latency.values, *corner)
    shares = []
    for seed in range(seeds):
        problem = SearchProblem(known.latency, known.accuracy)
        trail = list(get_searcher(name, **options).search(problem, FRONT_BUDGET, seed=seed))
        accuracy = np.array([step.accuracy for step in trail])
        latency = np.array([step.latency_ms for step in trail])
        shares.append(hypervolume(accuracy, latency, *corner) / whole)
    return np.array(shares)


# A predictor in the loop ------------------------------------------------------------------


@dataclass(frozen=True)
class InLoop:
    """What a latency source in the loop costs: means over limits and seeds."""

    evaluations: float
    kept: float
    lost: float


def _in_loop(known: Known, source: str, seeds: int) -> InLoop:
    """Evolution with the true latency, a prediction, or its 95 % bound in the loop."""
    ratios, kept, lost = [], [], []
    for seed in range(seeds):
        latency: LatencySource = known.latency
        if source != "true latency":
            generator = np.random.default_rng(1000 + seed)
            rows = generator.permutation(len(known.latency))[:ROWS]
            latency = HybridPredictor(known.latency.space).fit(
                known.latency.choices[rows], known.latency.values[rows]
            )
        upper = 0.95 if source == "95 % bound" else None
        for limit in known.limits():
            problem = SearchProblem(latency, known.accuracy, limit_ms=limit, upper=upper)
            wanted, expected = goal(known, limit)
            trail = list(get_searcher("evolution").search(problem, BUDGET // 2, seed=seed))
            truly = known.latency([step.architecture for step in trail]) <= limit
            near = [step.accuracy >= wanted for step in trail]
            hits = np.flatnonzero(truly & np.array(near))
            ratios.append((hits[0] + 1 if len(hits) else len(trail)) / expected)
            best = best_of(trail, limit)
            assert best is not None
            kept.append(bool(known.latency([best.architecture])[0] <= limit))
            lost.append(wanted + NEAR - best.accuracy)
    return InLoop(_geometric(ratios), float(np.mean(kept)), float(np.mean(lost)))


# Printing ---------------------------------------------------------------------------------


def _geometric(values: Sequence[float] | Floats) -> float:
    return float(np.exp(np.mean(np.log(np.asarray(values, dtype=np.float64)))))


def _job(arguments: tuple[Any, ...]) -> Any:
    function, *rest = arguments
    return function(*rest)


def _seeds(method: str, seeds: int) -> int:
    return max(2, seeds // 4) if method in COSTLY else seeds


def print_evaluations(
    pool: ProcessPoolExecutor,
    known: list[Known],
    methods: Sequence[str],
    seeds: int,
    *,
    everything: bool,
) -> dict[str, Summary]:
    """The table searchers x problems; returns each method's summary."""
    jobs = [
        (_reached, each, method, _seeds(method, seeds))
        for each in known
        for method in methods
        if everything or method not in COSTLY or each.least_accuracy is not None
    ]
    found = dict(zip([(j[1].name, j[2]) for j in jobs], pool.map(_job, jobs), strict=True))
    costly = f"{_seeds('mnas', seeds)} for {' and '.join(sorted(COSTLY))}"
    percentiles = ", ".join(map(str, PERCENTILES))
    print(
        f"\nEvaluations until within {NEAR} points of the optimum, over those of random search: "
        f"expected running time from {seeds} seeds ({costly}) with {BUDGET} evaluations each, at "
        f"limits of the {percentiles}th percentile (mean standard error of the four; share of the "
        "searches that came there)\n"
    )
    print(f"| problem | expected of random search | {' | '.join(methods)} |")
    print("|---" * (len(methods) + 2) + "|")
    for each in known:
        cells = []
        for method in methods:
            if (each.name, method) not in found:
                cells.append("-")
                continue
            got = found[each.name, method]
            means = ", ".join(f"{value:.2f}" for value in got.ratios)
            cells.append(f"{means} (+- {got.errors.mean():.2f}; {100 * got.shares.mean():.0f} %)")
        expected = ", ".join(f"{goal(each, limit)[1]:.0f}" for limit in each.limits())
        print(f"| {each.name} | {expected} | {' | '.join(cells)} |")
    geometric = {
        method: _geometric(
            np.concatenate([got.ratios for (_, name), got in found.items() if name == method])
        )
        for method in methods
    }
    row = " | ".join(f"{value:.3f}" for value in geometric.values())
    print(f"| geometric mean | | {row} |", flush=True)
    return {
        method: _summary([got for (_, name), got in found.items() if name == method])
        for method in methods
    }


@dataclass(frozen=True)
class Summary:
    """One method over all problems: ratios to random search, the share of failed searches."""

    mean: float
    tightest: float
    worst: float
    failed: float
    cpu_s: float


def _summary(found: Sequence[Reached]) -> Summary:
    ratios = np.array([got.ratios for got in found])
    return Summary(
        _geometric(ratios.ravel()),
        _geometric(ratios[:, :TIGHTEST].ravel()),
        float(ratios.max()),
        1.0 - float(np.mean([got.shares for got in found])),
        max(got.cpu_s for got in found),
    )


def print_summaries(summaries: dict[str, Summary]) -> None:
    """A line a method."""
    print(
        f"\nThe same, over all problems: geometric mean, that of the {TIGHTEST} tightest limits, "
        f"the largest ratio of a problem and limit, searches that did not come there in {BUDGET} "
        "evaluations, and processor time of that many\n"
    )
    print("| method | mean | tightest | largest | not there | CPU s |\n|---|---|---|---|---|---|")
    for method, found in summaries.items():
        print(
            f"| {method} | {found.mean:.3f} | {found.tightest:.3f} | {found.worst:.2f} | "
            f"{100 * found.failed:.1f} % | {found.cpu_s:.2f} |",
            flush=True,
        )


def print_fronts(pool: ProcessPoolExecutor, known: list[Known], seeds: int) -> dict[str, float]:
    """Shares of the front; returns the least of the default NSGA-II's means by kind of problem."""
    fronts = [each for each in known if each.least_accuracy is not None]
    jobs = [
        (_front_shares, each, method, _seeds(method, seeds))
        for each in fronts
        for method in FRONT_METHODS
    ]
    found = dict(zip([(j[1].name, j[2]) for j in jobs], pool.map(_job, jobs), strict=True))
    print(
        f"\nShare of the true front's hypervolume after {FRONT_BUDGET} evaluations: "
        f"mean +- standard deviation over {seeds} seeds ({_seeds('nsga2', seeds)} for nsga2)\n"
    )
    print(f"| problem | {' | '.join(FRONT_METHODS)} |")
    print("|---" * (len(FRONT_METHODS) + 1) + "|")
    for each in fronts:
        cells = [found[each.name, method] for method in FRONT_METHODS]
        row = " | ".join(f"{shares.mean():.4f} +- {shares.std(ddof=1):.4f}" for shares in cells)
        print(f"| {each.name} | {row} |", flush=True)
    return {each.name: float(found[each.name, "nsga2"].mean()) for each in fronts}


def print_in_loop(pool: ProcessPoolExecutor, known: list[Known], seeds: int) -> None:
    """What prediction error costs the search."""
    sources = ("true latency", "prediction", "95 % bound")
    jobs = [(_in_loop, each, source, seeds) for each in known for source in sources]
    found = list(pool.map(_job, jobs))
    print(
        f"\nEvolution with a predictor in the loop (hybrid, {ROWS} measured networks) against the "
        f"true latency, {BUDGET // 2} evaluations, {seeds} seeds x {len(PERCENTILES)} limits: "
        "evaluations (geometric mean of ratios to random search), share of winners that truly keep "
        "the limit, accuracy lost to the optimum (points)\n"
    )
    heads = [f"{source}: {what}" for source in sources for what in ("eval.", "kept", "lost")]
    print(f"| problem | {' | '.join(heads)} |")
    print("|---" * (len(heads) + 1) + "|")
    for number, each in enumerate(known):
        cells = [
            text
            for got in found[len(sources) * number : len(sources) * (number + 1)]
            for text in (f"{got.evaluations:.3f}", f"{100 * got.kept:.0f} %", f"{got.lost:.2f}")
        ]
        print(f"| {each.name} | {' | '.join(cells)} |", flush=True)


def _broken(found: dict[str, Summary]) -> list[str]:
    """Promises of single methods that are not kept."""
    words = []
    if "evolution" in found and found["evolution"].tightest > 0.25:
        words.append("evolution above a quarter at the tightest limits")
    if "evolution" in found and found["evolution"].failed > 0.12:
        words.append("evolution: more than 12 % of the searches failed")
    if "netadapt" in found and found["netadapt"].worst > 1.5:
        words.append("netadapt: a problem above 1.5")
    if "nsga2" in found and found["nsga2"].cpu_s >= 3:
        words.append("nsga2: 3 s or more")
    return words


def main() -> int:
    """Print the tables; 1 where --check finds a promise broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--latencies", default=MACRO, help="a data set's name or .parquet file")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--only", default="", help="problems whose name holds this text")
    parser.add_argument("--method", action="append", choices=METHODS, help="only this; no fronts")
    parser.add_argument("--all", action="store_true", help="costly methods on every problem too")
    parser.add_argument("--workers", type=int, help="processes; one a core unless given")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes below: no figure is a time
    start = time.monotonic()
    known = [k for k in problems(arguments.data, arguments.latencies) if arguments.only in k.name]
    with ProcessPoolExecutor(arguments.workers) as pool:
        methods = arguments.method or list(METHODS)
        found = print_evaluations(pool, known, methods, arguments.seeds, everything=arguments.all)
        print_summaries(found)
        shares = {}
        if not arguments.method:
            shares = print_fronts(pool, known, arguments.seeds)
            cifar10 = [each for each in known if each.least_accuracy is not None]
            print_in_loop(pool, cifar10, max(1, arguments.seeds // 4))
    print(f"\ntook {time.monotonic() - start:.0f} s")
    broken = [
        *_broken(found),
        *(
            f"{name} not better than random search"
            for name, summary in found.items()
            if name != "random" and summary.mean >= 1
        ),
        *(
            f"{name}: share of the front {share:.4f}"
            for name, share in shares.items()
            if share < (0.985 if name == "nasbench-macro" else 0.96)
        ),
    ]
    print("\n".join(f"BROKEN: {what}" for what in broken) or "all promises kept")
    return int(arguments.check and bool(broken))


if __name__ == "__main__":
    sys.exit(main())
