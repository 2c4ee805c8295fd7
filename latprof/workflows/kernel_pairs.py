"""The kernels of two networks side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from latprof.workflows.profile import profile

if TYPE_CHECKING:
    from latprof.measurement.records import KernelTime
    from latprof.workflows.arguments import NetworkLike

#: Visits of each network whose kernels are timed.
_VISITS = 4


@dataclass(frozen=True)
class KernelPair:
    """A kernel of A and the one in its place in B; None where the other network has none there."""

    a: KernelTime | None
    b: KernelTime | None

    @property
    def difference_ms(self) -> float:
        """What B takes longer here."""
        return (0.0 if self.b is None else self.b.latency_ms) - (
            0.0 if self.a is None else self.a.latency_ms
        )

    @property
    def is_alike(self) -> bool:
        """Whether both are of one kind and of the same shapes."""
        return self.a is not None and self.b is not None and _like(self.a) == _like(self.b)

    def to_dict(self) -> dict[str, Any]:
        """Return the pair as plain JSON values."""
        return {
            **{f"a_{name}": value for name, value in _values(self.a).items()},
            **{f"b_{name}": value for name, value in _values(self.b).items()},
            "difference_ms": self.difference_ms,
            "alike": self.is_alike,
        }


def _values(kernel: KernelTime | None) -> dict[str, Any]:
    names = ("name", "kind", "latency_ms", "input_shapes", "output_shapes")
    return {name: None if kernel is None else getattr(kernel, name) for name in names}


def _like(kernel: KernelTime) -> tuple[Any, ...]:
    return kernel.kind, kernel.input_shapes, kernel.output_shapes


def align_kernels(a: Sequence[KernelTime], b: Sequence[KernelTime]) -> list[KernelPair]:
    """Pair two networks' kernels in the order they run.

    Longest runs of kernels of the same kind and shapes are aligned first. Between them kernels
    stand opposite in their order, and what is left over stands alone.
    """
    found: list[KernelPair] = []
    # First by kind and shapes; what lies between, by kind alone.
    for tag, ours, theirs in _blocks([*map(_like, a)], [*map(_like, b)]):
        first, second = a[ours], b[theirs]
        if tag == "equal":
            found += [KernelPair(one, other) for one, other in zip(first, second, strict=True)]
            continue
        kinds = ([kernel.kind for kernel in side] for side in (first, second))
        for _, inner, outer in _blocks(*kinds):
            pairs = zip_longest(first[inner], second[outer])
            found += [KernelPair(one, other) for one, other in pairs]
    return found


def _blocks(a: Sequence[Any], b: Sequence[Any]) -> Iterator[tuple[str, slice, slice]]:
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    for tag, a_low, a_high, b_low, b_high in matcher.get_opcodes():
        yield tag, slice(a_low, a_high), slice(b_low, b_high)


def profiled_pairs(
    networks: Sequence[NetworkLike], latencies_ms: Sequence[float], target: str, **options: Any
) -> tuple[KernelPair, ...]:
    """Profile two networks, one after the other, and align their kernels.

    ``latencies_ms`` are the networks' own, measured in turn: each profile's milliseconds are by a
    constant of its own moment, so its kernels are scaled until both latencies are the same.
    ``options`` are those of :func:`latprof.profile`, which raises what this raises.
    """
    found = []
    for network, latency_ms in zip(networks, latencies_ms, strict=True):
        profiled = profile(network, target, visits=_VISITS, **options)
        scale = latency_ms / profiled.latency_ms
        found.append([replace(k, latency_ms=k.latency_ms * scale) for k in profiled.kernels])
    return tuple(align_kernels(*found))
