"""Answers of kernel packs: any network's latency, its kernels, and what to change in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.common.short_reprs import whole_percent
from latprof.errors import CoverageError, ModelFileError
from latprof.predictors.kernels.configurations import NUMBERS, Configurations
from latprof.predictors.kernels.graph_kernels import GraphKernels, kernels_of
from latprof.predictors.kernels.network_kernels import INTERVAL_COVERAGE
from latprof.predictors.kernels.operator_costs import OperatorCost
from latprof.predictors.pack.answering import Answer, CheaperKernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latprof.graph.operators import Network
    from latprof.predictors.kernels.network_kernels import SummedKernels
    from latprof.predictors.pack.kernel_pack import KernelPack

#: Kernels that a change is looked for, and changes that are named.
_CONSIDERED, _NAMED = 12, 3
#: A change that saves less than this part of the network is not worth a line.
_LEAST_SAVING = 0.005
_DIVISORS = (8, 16)
#: Activations that are kernels of their own, and cost more than ReLU.
_SMOOTH = frozenset({"BiasGelu", "FastGelu", "Gelu", "HardSwish", "Mish", "QuickGelu", "Swish"})
#: Families whose kernels apply an activation to their result.
_APPLYING = frozenset({"conv", "depthwise", "grouped", "convtranspose", "linear", "matmul"})


def predict_from_kernels(
    pack: KernelPack,
    network: Network,
    name: str,
    *,
    strict: bool = False,
    upper: float | None = None,
    advise: bool = False,
) -> Answer:
    """Predict a network that was read from a model from its kernels.

    Parameters
    ----------
    pack : KernelPack
    network : Network
    name : str
        What the answer calls it.
    strict : bool
        Refuse a network with kernels outside the training range.
    upper : float, optional
        A share such as 0.95: also the latency that measurements stay below with this probability.
    advise : bool
        Also say what to change.

    Raises
    ------
    CoverageError
        With ``strict``, naming the kernels that are not covered.
    ModelFileError
        For a network without operators that do work.
    """
    kernels = kernels_of(network, pack.target, pack.rules)
    if not kernels.operators:
        raise ModelFileError(f"{name} has no operators to predict", expected="operators that work")
    certain = np.array([not operator.unknown for operator in kernels.operators], dtype=bool)
    found = pack.model.predict(kernels.configurations, kernels.trips, certain)
    outside = ~found.covered & certain
    unknown = tuple(
        sorted({op.kind for op, out in zip(kernels.operators, outside, strict=True) if out})
    )
    if strict and found.coverage < 1:
        missing = (*unknown, *network.unknown)
        raise CoverageError(
            f"the pack knows only {whole_percent(found.coverage)} of {name}; outside the training "
            f"range, or not certain: {', '.join(missing)}",
            missing,
            hint="leave out --strict for an estimate with an interval",
        )
    return Answer(
        name=name,
        target=pack.target,
        latency_ms=found.latency_ms,
        low_ms=found.low_ms,
        high_ms=found.high_ms,
        how="kernels",
        coverage=found.coverage,
        unknown=unknown,
        operators=_costs(kernels, found),
        upper_ms=None if upper is None else pack.model.upper_ms(found, upper),
        interval_coverage=INTERVAL_COVERAGE,
        changes=_changes(pack, kernels, found) if advise else (),
        measured_here=_measured_here(pack, kernels),
        uncertain=network.unknown,
    )


def _measured_here(pack: KernelPack, kernels: GraphKernels) -> int:
    measured = pack.model.kernels.measured
    digests = kernels.configurations.digests() if measured else ()
    return sum(digest in measured for digest in digests)


def _costs(kernels: GraphKernels, found: SummedKernels) -> tuple[OperatorCost, ...]:
    rows = zip(
        kernels.operators,
        found.kernel_ms.tolist(),
        found.covered.tolist(),
        found.floor_ms.tolist(),
        strict=True,
    )
    return tuple(OperatorCost(op.name, op.kind, ms, known, floor) for op, ms, known, floor in rows)


def _changes(
    pack: KernelPack, kernels: GraphKernels, found: SummedKernels
) -> tuple[CheaperKernel, ...]:
    """The cheaper configurations nearest to the kernels that cost most above their roofline."""
    above = found.kernel_ms - found.floor_ms
    considered = np.argsort(-above)[:_CONSIDERED].tolist()
    tried: list[tuple[int, str, str, NDArray[np.float64]]] = []
    for index in considered:
        family = str(kernels.configurations.families[index])
        numbers = kernels.configurations.numbers[index]
        tried += [(index, words, family, other) for words, other in _cheaper(family, numbers)]
        if kernels.operators[index].op_type in _SMOOTH:
            tried.append((index, "ReLU in its place", "activation", numbers))
    if not tried:
        return ()
    rows = [index for index, *_ in tried]
    asked = Configurations(
        np.array([family for _, _, family, _ in tried], dtype=np.str_),
        np.array([numbers for *_, numbers in tried]),
    )
    instead = pack.model.kernels.predict(asked).latency_ms
    instead = instead * kernels.trips[rows]
    best: dict[int, CheaperKernel] = {}
    for (index, words, *_), ms in zip(tried, instead.tolist(), strict=True):
        operator, now = kernels.operators[index], float(found.kernel_ms[index])
        change = CheaperKernel(operator.name, operator.kind, _place(operator), now, words, ms)
        if index not in best or ms < best[index].instead_ms:
            best[index] = change
    worth = [c for c in best.values() if c.saves_ms > _LEAST_SAVING * found.latency_ms]
    return tuple(sorted(worth, key=lambda change: -change.saves_ms)[:_NAMED])


def _place(operator: Any) -> str:
    """Where in the network: the size of what it writes."""
    shape = operator.output_shapes[0] if operator.output_shapes else ()
    return "x".join(map(str, shape[1:])) if shape else ""


def _cheaper(family: str, numbers: NDArray[np.float64]) -> list[tuple[str, NDArray[np.float64]]]:
    """Configurations a step cheaper than one, in words."""
    found: list[tuple[str, NDArray[np.float64]]] = []

    def scaled(words: str, changed: dict[str, float], factors: dict[str, float]) -> None:
        other = numbers.copy()
        for column, value in changed.items():
            other[NUMBERS.index(column)] = value
        for column, factor in factors.items():
            other[NUMBERS.index(column)] *= factor
        found.append((words, other))

    at = {column: float(numbers[i]) for i, column in enumerate(NUMBERS)}
    side = at["kernel_height"]
    if family in ("conv", "depthwise", "grouped") and side == at["kernel_width"] and side > 3:
        less = side - 2
        scaled(
            f"{less:.0f}x{less:.0f}",
            {"kernel_height": less, "kernel_width": less},
            {"weights": (less / side) ** 2, "macs": (less / side) ** 2},
        )
    if family in ("conv", "linear"):
        outputs = at["out_channels"]
        for divisor in _DIVISORS:
            fewer = divisor * (outputs // divisor)
            if fewer and fewer != outputs and fewer >= 0.85 * outputs:
                part = fewer / outputs
                scaled(
                    f"{fewer:.0f} channels instead of {outputs:.0f}",
                    {"out_channels": fewer},
                    {"weights": part, "macs": part, "written": part},
                )
    if family in _APPLYING and at["activation"] >= 3:
        scaled("ReLU in place of its activation", {"activation": 1.0}, {})
    return found
