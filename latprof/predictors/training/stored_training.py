"""Training on a store: its labels, one target and one space at a time."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latprof.common.short_reprs import ShortRepr
from latprof.datasets.spaces.named import space_from_description
from latprof.errors import UsageError
from latprof.predictors.models.block_times import BlockTimes
from latprof.predictors.models.by_name import predictor_class
from latprof.predictors.training.split_training import train

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from latprof.datasets.spaces.base import Architecture, SearchSpace
    from latprof.graph.operators import Operator
    from latprof.measurement.labels import TargetLabels
    from latprof.predictors.pack.pack import Pack
    from latprof.predictors.training.split_training import OnFit

    _KernelProfile = tuple[Architecture, list[tuple[str, float]]]


@dataclass(frozen=True, eq=False, repr=False)
class StoredRows(ShortRepr):
    """What a store holds of one target: architectures of one space, each with its label.

    Sorted by architecture, so that nothing depends on who was measured first.
    """

    space: SearchSpace
    architectures: list[Architecture]
    latency_ms: NDArray[np.float64]


def stored_rows(measured: TargetLabels, space: SearchSpace | None = None) -> StoredRows:
    """The labels of a target's architectures, of those of ``space`` where it is given.

    Raises NotEnoughDataError for no architecture, UsageError for none of ``space``, or for several
    spaces where it is not given.
    """
    described = [measured.one_space()] if space is None else _described(measured, space)
    labels = measured.labels
    is_of_space = (labels["kind"] == "architecture") & labels["space"].isin(described)
    rows = labels[(labels["label"] == 0) & is_of_space].sort_values("subject")
    with measured.store.reading("an architecture"):
        space = space or space_from_description(described[0])
        architectures = [space.parse(key) for key in rows["subject"]]
    return StoredRows(space, architectures, rows["latency_ms"].to_numpy())


def _described(measured: TargetLabels, space: SearchSpace) -> list[str]:
    """The space as the store describes it, by this version or an earlier one."""
    differences = {each: space.difference_from(each) for each in measured.spaces}
    same = [each for each, difference in differences.items() if not difference]
    if not same:
        raise UsageError(
            f"{measured.store.location} holds architectures of another space: "
            + "; ".join(differences.values()),
            expected=space.description,
            got=", ".join(differences)[:500],
        )
    return same


def stored_block_times(measured: TargetLabels, space: SearchSpace) -> BlockTimes | None:
    """What the blocks of a space's architectures took, None where no kernels were timed."""
    return _block_times(space, _kernel_profiles(measured, space))


def _block_times(space: SearchSpace, profiles: Sequence[_KernelProfile]) -> BlockTimes | None:
    if not profiles:
        return None
    architectures, kernels = zip(*profiles, strict=True)
    return BlockTimes.of_kernels(space, architectures, kernels)


def _kernel_profiles(measured: TargetLabels, space: SearchSpace) -> list[_KernelProfile]:
    """Architectures whose kernels were timed, with the kernels' names and milliseconds."""
    kernels = {
        subject.key: [(kernel.name, kernel.latency_ms) for kernel in profile.kernels]
        for subject, profile in measured.kernel_profiles()
        if not space.difference_from(subject.space)
    }
    with measured.store.reading("an architecture"):
        return [(space.parse(key), times) for key, times in kernels.items()]


def timed_operators(
    space: SearchSpace,
    batch_size: int,
    profiles: Iterable[tuple[Architecture, Iterable[tuple[str, float]]]],
) -> Iterator[tuple[Operator, float]]:
    """Every operator whose kernels were timed, and their milliseconds.

    ``profiles`` are networks with the names and milliseconds of their kernels. A kernel is of the
    operator whose name its own begins with, component by component (``stem.relu6`` of ``stem``);
    kernels of none, such as changes of memory layout, are left out.
    """
    for architecture, kernels in profiles:
        named = {operator.name: operator for operator in space.operators(architecture, batch_size)}
        sums: dict[str, float] = {}
        for kernel, latency_ms in kernels:
            name = kernel
            while name and name not in named:
                name = name.rpartition(".")[0]
            if name:
                sums[name] = sums.get(name, 0.0) + latency_ms
        yield from ((named[name], latency_ms) for name, latency_ms in sums.items())


def train_on_labels(
    measured: TargetLabels,
    *,
    predictor: str = "hybrid",
    test_fraction: float = 0.2,
    seed: int = 0,
    compare: bool = True,
    on_progress: OnFit | None = None,
    space: SearchSpace | None = None,
) -> Pack:
    """Fit a predictor to what a store holds of one target, architectures of ``space`` if given.

    Raises
    ------
    UnknownNameError
        For an unknown predictor.
    NotEnoughDataError
        For too few architectures.
    UsageError
        When the store holds none of ``space``, or architectures of several where it is not given.
    """
    predictor_class(predictor)
    rows = stored_rows(measured, space)
    profiles = _kernel_profiles(measured, rows.space)
    pack = train(
        rows.space,
        rows.architectures,
        rows.latency_ms,
        predictor=predictor,
        target=measured.target,
        noise_floor=measured.noise_floor,
        reference=measured.reference,
        reference_ms=measured.reference_ms,
        test_fraction=test_fraction,
        seed=seed,
        compare=compare,
        on_progress=on_progress,
        block_times=_block_times(rows.space, profiles),
        kernels=timed_operators(rows.space, measured.target.batch_size, profiles),
    )
    return dataclasses.replace(pack, constant=measured.constant)
