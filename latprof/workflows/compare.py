"""Whether one network, or one store's networks, are faster or slower than another's."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from latprof.common.extras import needs
from latprof.common.short_reprs import ShortRepr
from latprof.errors import (
    EXIT_FINDING,
    EXIT_OK,
    EXIT_PARTIAL,
    TargetMismatchError,
    UsageError,
)
from latprof.workflows.arguments import (
    Inputs,
    NetworkLike,
    OnNote,
    RunArguments,
    Shapes,
    StoreLike,
    name_of,
    network_of,
    now_and_then,
    open_store,
    run_options,
)

if TYPE_CHECKING:
    from latprof.measurement.comparison import Comparison
    from latprof.measurement.differing_conditions import DifferingCondition
    from latprof.profilers.base import RunOptions
    from latprof.profilers.visits.network_source import NetworkSource

#: What networks are measured on where nobody says.
DEFAULT_TARGET = "cpu:onnxruntime"


@dataclass(frozen=True, repr=False)
class CompareResult(ShortRepr):
    """Verdicts on B against A.

    Parameters
    ----------
    comparisons : tuple of Comparison
        One for two networks; one a network for two stores.
    failed : tuple of Comparison
        Those that fulfil ``fail_if``.
    missing : tuple of str
        Networks of store A without usable visits in store B.
    costs_unknown : mapping of str to str
        Models that are measured though their costs cannot be told, by name, and why.
    conditions : tuple of DifferingCondition
        Of two stores: what was different when they were filled, each with ``name``, ``a``, ``b``
        and ``kind``.
    """

    comparisons: tuple[Comparison, ...]
    failed: tuple[Comparison, ...] = ()
    missing: tuple[str, ...] = ()
    costs_unknown: Mapping[str, str] = field(default_factory=dict)
    conditions: tuple[DifferingCondition, ...] = ()

    @property
    def exit_status(self) -> int:
        """1 where ``fail_if`` holds for a network, else 5 where networks or visits are missing."""
        if self.failed:
            return EXIT_FINDING
        lost = any(each.visits is not None and each.visits.failed for each in self.comparisons)
        return EXIT_PARTIAL if self.missing or lost else EXIT_OK

    def _repr_html_(self) -> str:
        from latprof.measurement.comparison import comparisons_html

        return comparisons_html(self.comparisons, self.missing)

    def to_dict(self) -> list[dict[str, Any]]:
        """Return the comparisons as plain JSON values."""
        more: dict[str, Any] = {}
        if self.costs_unknown:
            more["costs_unknown"] = dict(self.costs_unknown)
        if self.conditions:
            more["conditions"] = [condition.to_dict() for condition in self.conditions]
        return [comparison.to_dict() | more for comparison in self.comparisons]


@needs("collect", "pandas", "scipy", "sqlalchemy")
def compare(
    a: NetworkLike | StoreLike,
    b: NetworkLike | StoreLike,
    *,
    target: str | None = None,
    fail_if: str | None = None,
    alpha: float = 0.05,
    processes: int = 8,
    visits: int = 3,
    shapes: Shapes = None,
    inputs: Inputs = None,
    ignore: Sequence[str] = (),
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
        or two stores.
    target : str, optional
        What to measure on (``"cpu:onnxruntime"`` where not given), or which of the stores' targets.
    fail_if : str, optional
        A condition such as ``"slower>3%"``: the comparisons for which it holds are ``failed``.
    alpha : float
        Rate of false verdicts that is accepted.
    processes, visits : int
        For two networks: measuring processes, and visits to each network in each of them.
    shapes : mapping of str to sequence of int, optional
        Shapes of the models' inputs whose own are dynamic.
    inputs : mapping of str to path, optional
        NumPy files (``.npy``) with the values of the models' inputs, by name.
    ignore : sequence of str
        Fields of two stores' targets that may differ.
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
    """
    from latprof.measurement.comparison import Condition, check_alpha

    condition = None if fail_if is None else Condition.parse(fail_if)
    check_alpha(alpha)
    stores = [_is_store(each) for each in (a, b)]
    if any(stores) and not all(stores):
        raise UsageError(
            "a store and a network cannot be compared", got=f"{name_of(a)} and {name_of(b)}"
        )
    missing: tuple[str, ...] = ()
    unknown: dict[str, str] = {}
    conditions: tuple[DifferingCondition, ...] = ()
    if all(stores):
        found, missing, conditions = _compare_stores(a, b, target, alpha, ignore, on_note)  # type: ignore[arg-type]
    else:
        target = target or DEFAULT_TARGET
        options = run_options(target, run, on_note)
        effort = {"alpha": alpha, "processes": processes, "visits": visits}
        networks = _networks((a, b), options, shapes, inputs)  # type: ignore[arg-type]
        unknown = {
            each.subject.name: each.costs.unknown
            for each in networks
            if each.costs is not None and each.costs.unknown
        }
        on_wait = now_and_then(on_note)
        found = (_compare_networks(networks, target, options, effort, on_wait),)
    failed = tuple(each for each in found if condition is not None and condition.holds(each))
    return CompareResult(found, failed, missing, unknown, conditions)


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
) -> tuple[tuple[Comparison, ...], tuple[str, ...], tuple[DifferingCondition, ...]]:
    from latprof.measurement.differing_conditions import differing_conditions
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
    return found.comparisons, found.missing, conditions


def _networks(
    given: Sequence[NetworkLike], options: RunOptions, shapes: Shapes, inputs: Inputs
) -> list[NetworkSource]:
    from latprof.profilers.visits.network_source import NetworkSource, check_batch_size_of_models

    found = [network_of(each) for each in given]
    paths = [each for each in found if isinstance(each, Path)]
    if paths:
        check_batch_size_of_models(options.batch_size)
    models = iter(NetworkSource.of_models(paths, shapes, inputs))
    return [
        NetworkSource.of_architecture(*each) if isinstance(each, tuple) else next(models)
        for each in found
    ]


def _compare_networks(
    networks: Sequence[NetworkSource],
    target: str,
    options: RunOptions,
    effort: dict[str, Any],
    on_wait: OnNote,
) -> Comparison:
    from latprof.measurement.records import PairedProtocol
    from latprof.profilers.comparing import compare_networks
    from latprof.profilers.targets import profiler_class
    from latprof.profilers.visits.measurers import measurers
    from latprof.profilers.visits.network_source import check_formats, reference_network

    check_formats(networks, profiler_class(target))
    _, reference = reference_network()
    with measurers(target, options, reference, PairedProtocol(), on_wait=on_wait) as make_measurer:
        return compare_networks(networks[0], networks[1], make_measurer, **effort)
