"""Whether one network, or one store's networks, are faster or slower than another's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from latprof.common.extras import needs
from latprof.errors import (
    DeviceError,
    MeasurementTimeoutError,
    TargetMismatchError,
    UsageError,
)
from latprof.measurement.budgets import BudgetResult, read_budgets
from latprof.workflows.arguments import (
    Inputs,
    NetworkLike,
    OnNote,
    RunArguments,
    Shapes,
    SpaceLike,
    StoreLike,
    name_of,
    network_of,
    open_store,
    quiet_of,
    run_options,
    space_of,
    watch_of,
)
from latprof.workflows.budget_checks import OF_TWO, comparison_verdicts
from latprof.workflows.compare_result import CompareResult

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import SearchSpace
    from latprof.measurement.records import Target
    from latprof.profilers.base import RunOptions
    from latprof.profilers.visits.network_source import NetworkSource
    from latprof.profilers.visits.schedule import OnVisit
    from latprof.profilers.watching import Watch

#: What networks are measured on where nobody says.
DEFAULT_TARGET = "cpu:onnxruntime"


@needs("collect", "pandas", "scipy", "sqlalchemy")
def compare(
    a: NetworkLike | StoreLike,
    b: NetworkLike | StoreLike | None = None,
    *,
    against: str = "",
    space: SpaceLike | None = None,
    target: str | None = None,
    fail_if: str | Sequence[str] | None = None,
    allow_open: bool = False,
    alpha: float = 0.05,
    processes: int = 8,
    visits: int = 3,
    half_width: float | None = None,
    max_processes: int = 32,
    timeout_s: float = 300.0,
    wait_quiet_s: float | None = None,
    require_quiet: bool = False,
    shapes: Shapes = None,
    inputs: Inputs = None,
    ignore: Sequence[str] = (),
    operators: bool = False,
    on_progress: OnVisit | None = None,
    on_note: OnNote | None = None,
    **run: Unpack[RunArguments],
) -> CompareResult:
    """Say whether B is faster or slower than A, or that there is no evidence of either.

    Two networks are measured now, in turn, in fresh processes. Two stores are compared network by
    network, and all verdicts together keep the error rate (Holm's correction).

    Parameters
    ----------
    a, b : path, Architecture or str; or path, URL or Store
        Two networks (an ONNX file, or an architecture's spelling with its space before a colon),
        or two stores. With ``against``, ``a`` is a store, and there is no ``b``.
    against : str
        A branch, a tag or a commit: the models that the store has of the present commit are
        compared with those that it has of this one.
    space : SearchSpace or str, optional
        The space of two architectures, where it is one of your own.
    target : str, optional
        What to measure on (``"cpu:onnxruntime"`` where not given), or which of the stores' targets.
    fail_if : str or sequence of str, optional
        Conditions that fail: ``"slower > 3 %"``, ``"faster > 10 %"`` or, of B, ``"> 5 ms"``. One
        is kept or broken only where the interval shows it.
    allow_open : bool
        What the interval does not show does not fail.
    alpha : float
        Rate of false verdicts that is accepted.
    processes, visits : int
        For two networks: measuring processes, and visits to each network in each of them.
    half_width : float, optional
        For two networks: as many processes again are started until half of the effect's 90 %
        interval is this narrow.
    max_processes : int
        With ``half_width``: most processes.
    timeout_s : float
        For two networks: longest time for one visit, in seconds.
    wait_quiet_s : float, optional
        For two networks: wait at most so long for a quiet host, in seconds.
    require_quiet : bool
        For two networks: give no verdict where the host is busy.
    shapes : mapping of str to sequence of int, optional
        Shapes of the models' inputs whose own are dynamic.
    inputs : mapping of str to path, optional
        NumPy files (``.npy``) with the values of the models' inputs, by name.
    ignore : sequence of str
        Fields of two stores' targets that may differ.
    operators : bool
        For two networks: also time the kernels of both, and align them.
    on_progress : callable, optional
        For two networks: called after every visit.
    on_note : callable, optional
        Called with remarks.
    **run
        How two networks run (:class:`~latprof.workflows.arguments.RunArguments`).

    Raises
    ------
    UsageError
        For a store against a network, and values outside their limits.
    TargetMismatchError, NotEnoughDataError
        For stores of different targets, or without a network in common.
    DeviceError, MeasurementTimeoutError
        When a network cannot be measured at all; visits that fail now and then are tried again, and
        counted where they stay lost (:attr:`latprof.Comparison.visits`).
    HostBusyError
        Where a quiet host is required and this one is busy, or so busy that the visits agree on
        nothing.
    """
    from latprof.measurement.comparison import check_alpha

    budgets = read_budgets(fail_if, OF_TWO, "a comparison")
    check_alpha(alpha)
    stores = [_is_store(each) for each in (a, b)]
    if (b is None) != bool(against) or (against and not stores[0]):
        raise UsageError("`compare` takes two networks, two stores, or a store and `against`")
    if any(stores) and not all(stores) and not against:
        raise UsageError(
            "a store and a network cannot be compared", got=f"{name_of(a)} and {name_of(b)}"
        )
    if operators and any(stores):
        raise UsageError("`operators` is for two networks", field="operators")
    if against:
        from latprof.workflows.history import compare_revisions

        comparisons, missing, targets = compare_revisions(a, target, against, alpha)  # type: ignore[arg-type]
        found = CompareResult(comparisons, missing=missing, targets=targets)
    elif all(stores):
        found = _compare_stores(a, b, target, alpha, ignore, on_note)  # type: ignore[arg-type]
    else:
        target = target or DEFAULT_TARGET
        options = run_options(target, run, on_note)
        effort = {
            "processes": processes,
            "visits": visits,
            "half_width": _checked_half_width(half_width),
            "max_processes": max_processes,
        }
        quiet = quiet_of(wait_quiet_s, require_quiet=require_quiet)
        watch = watch_of(quiet, on_progress, on_note)
        networks = _networks((a, b), space_of(space), options, shapes, inputs)  # type: ignore[arg-type]
        found = _Measured(networks, target, options, timeout_s, watch).compare(effort, alpha)
    verdicts = comparison_verdicts(found.comparisons, budgets, alpha)
    broken = {verdict.name for verdict in verdicts if verdict.outcome == "broken"}
    found = replace(
        found,
        failed=tuple(each for each in found.comparisons if each.name in broken),
        budgets=BudgetResult(tuple(verdicts), allow_open),
    )
    if not operators:
        return found
    from latprof.workflows.kernel_pairs import profiled_pairs

    how: dict[str, Any] = {"space": space, "shapes": shapes, "inputs": inputs, **run}
    how |= {"timeout_s": timeout_s, "on_progress": on_progress}
    (pair,) = found.comparisons
    sides = [side.latency_ms for side in (pair.a, pair.b) if side is not None]
    try:
        kernels = profiled_pairs((a, b), sides, target or DEFAULT_TARGET, **how)  # type: ignore[arg-type]
    except (DeviceError, MeasurementTimeoutError) as error:  # the verdict stays
        return replace(found, without_kernels=str(error))
    return replace(found, kernels=kernels)


def _is_store(given: object) -> bool:
    from latprof.common.files import is_sqlite, what_is_at
    from latprof.measurement.store.store import Store

    if isinstance(given, Store):
        return True
    if not isinstance(given, str | os.PathLike):
        return False
    text = os.fspath(given)
    path = Path(text)
    if "://" in text or path.suffix == ".db":
        return True
    return what_is_at(path) == "file" and is_sqlite(path)


def _compare_stores(
    a: StoreLike,
    b: StoreLike,
    target: str | None,
    alpha: float,
    ignore: Sequence[str],
    on_note: OnNote | None,
) -> CompareResult:
    from latprof.measurement.across.differing_conditions import differing_conditions
    from latprof.measurement.labels import TargetLabels
    from latprof.profilers.comparing import compare_stores

    with open_store(a) as first, open_store(b) as second:
        measured = (TargetLabels.of(first, target), TargetLabels.of(second, target))
        conditions = differing_conditions(*measured)
        try:
            found = compare_stores(*measured, alpha=alpha, ignore=ignore)
        except TargetMismatchError:
            if on_note is not None:
                for each in conditions:
                    if each.kind != "target":  # the error names those
                        on_note(f"{each.name}: {each.a} in A, {each.b} in B")
            raise
    if found.in_milliseconds and on_note is not None:
        on_note(
            "the targets differ, so milliseconds are compared; the error of each store's reference "
            "constant is not in the intervals"
        )
    return CompareResult(
        found.comparisons,
        missing=found.missing,
        conditions=conditions,
        targets=tuple(side.target for side in measured),
    )


def _networks(
    given: Sequence[NetworkLike],
    space: SearchSpace | None,
    options: RunOptions,
    shapes: Shapes,
    inputs: Inputs,
) -> list[NetworkSource]:
    from latprof.profilers.visits.network_source import (
        NetworkSource,
        check_batch_size_of_models,
        with_distinct_names,
    )

    found = [network_of(each, space) for each in given]
    paths = [each for each in found if isinstance(each, Path)]
    if paths:
        check_batch_size_of_models(options.batch_size)
    models = iter(NetworkSource.of_models(paths, shapes, inputs))
    return with_distinct_names(
        [
            NetworkSource.of_architecture(*each) if isinstance(each, tuple) else next(models)
            for each in found
        ]
    )


def _checked_half_width(half_width: float | None) -> float:
    from latprof.common.limits import Limit

    found = 0.0 if half_width is None else half_width
    Limit(0, 1, open_high=True).check("half_width", found)
    return found


@dataclass(frozen=True)
class _Measured:
    """Two networks that are measured in turn."""

    networks: Sequence[NetworkSource]
    target: str
    options: RunOptions
    timeout_s: float
    watch: Watch

    def targets(self) -> tuple[Target, ...]:
        """What each was measured on: a model brings its own batch and shape."""
        from latprof.profilers.targets import profiler_class

        profiler = profiler_class(self.target)(self.options)
        found = []
        for network in self.networks:
            costs = network.costs
            identity = profiler.target(None if costs is None else costs.input_shape)
            if costs is not None and costs.batch_size is not None:
                identity = replace(identity, batch_size=costs.batch_size)
            found.append(identity)
        return tuple(found)

    def compare(self, effort: dict[str, Any], alpha: float) -> CompareResult:
        """Measure them, and say which is faster."""
        from latprof.measurement.records import PairedProtocol
        from latprof.profilers.comparing import compare_in_turn, measure_in_turn
        from latprof.profilers.targets import check_formats, profiler_class
        from latprof.profilers.visits.measurers import measurers
        from latprof.profilers.visits.network_source import reference_network
        from latprof.profilers.watching import settled

        targets = self.targets()  # a device that is not there, or goes later, loses no verdict
        name, reference = reference_network()
        watch, (a, b) = self.watch, self.networks
        check_formats(self.target, [a.path, b.path])
        this = profiler_class(self.target)(self.options)
        checks = watch.before(this)
        with measurers(
            self.target,
            self.options,
            reference,
            PairedProtocol(),
            timeout_s=self.timeout_s,
            on_wait=watch.on_wait,
        ) as make_measurer:
            found = measure_in_turn(a, b, make_measurer, **effort, on_visit=watch.on_visit)
        wanted, reached = effort["half_width"], found.relative_half_width
        if wanted and reached > wanted:
            watch.on_note(
                f"the effect's interval reaches {reached:.2%} to either side, not {wanted:.2%}: "
                "--max-processes allows more"
            )
        host = watch.after(this, checks, found.made, found.visits)
        name = found.reference or name
        constant = settled(this, name, found.constant, watch.on_note)
        found = replace(found, constant=constant)
        names = a.subject.name, b.subject.name
        return CompareResult(
            (compare_in_turn(names, found, alpha, host),),
            costs_unknown={
                each.subject.name: each.costs.unknown
                for each in (a, b)
                if each.costs is not None and each.costs.unknown
            },
            targets=targets,
            host=host,
            reference=name,
            constant=constant,
        )
