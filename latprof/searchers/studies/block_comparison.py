"""Which building blocks suit which device: fronts of random networks of one kind of block each.

A kind of block (a *family*: kernel 3, expansion 6, ...) is the better one on a device where the
front of accuracy against latency of its random networks lies above the others'. Nothing is
searched, so the comparison says something of the blocks and not of a search.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.limits import check_seed
from latprof.common.short_reprs import ShortRepr
from latprof.errors import InvalidValueError, UnknownNameError
from latprof.searchers.base import (
    AccuracySource,
    LatencySource,
    accuracies_of,
    check_budget,
    pareto_front,
)

if TYPE_CHECKING:
    import pandas as pd

    from latprof.datasets.spaces.base import Architecture, Choices, SearchSpace

Floats: TypeAlias = NDArray[np.float64]
#: Indices of the candidates that a family may take, decision by decision.
Family: TypeAlias = Sequence[Sequence[int]]

#: Batches of draws without a new network after which a family counts as exhausted.
_PATIENCE = 20


@dataclass(frozen=True, eq=False, repr=False)
class FamilySample(ShortRepr):
    """n random networks of one family.

    Parameters
    ----------
    choices : array of shape (n, decisions)
    accuracy : array of shape (n,)
    latency_ms : mapping of str to array of shape (n,)
        By device, in milliseconds.
    """

    choices: Choices
    accuracy: Floats
    latency_ms: Mapping[str, Floats]


@dataclass(frozen=True, eq=False, repr=False)
class BlockComparison(ShortRepr):
    """Random networks of each family, and their fronts on each device.

    Read-only. Methods raise UnknownNameError for a family or device that is not there.

    Parameters
    ----------
    space : SearchSpace
    devices : tuple of str
    samples : mapping of str to FamilySample
        By family.
    """

    space: SearchSpace
    devices: tuple[str, ...]
    samples: Mapping[str, FamilySample]

    @property
    def families(self) -> tuple[str, ...]:
        """The names of the families."""
        return tuple(self.samples)

    def front(self, family: str, device: str) -> NDArray[np.int64]:
        """Indices of the family's networks on its own front, the fastest first."""
        accuracy, latency = self._points(family, device)
        return pareto_front(accuracy, latency)

    def hypervolume(self, family: str, device: str) -> float:
        """Share of the device's rectangle that the family's front dominates, from 0 to 1.

        The rectangle reaches from the slowest and least accurate to the fastest and most accurate
        of all families' networks on the device: families of one comparison can be held together,
        other numbers cannot. 0 where all networks are equally fast or accurate.
        """
        accuracy, latency = self._points(family, device)
        every_accuracy, every_latency = self._all_points(device)
        front = pareto_front(accuracy, latency)
        widths = every_latency.max() - latency[front]
        heights = np.diff(accuracy[front], prepend=every_accuracy.min())
        whole = float(np.ptp(every_latency) * np.ptp(every_accuracy))
        return float(widths @ heights) / whole if whole else 0.0

    def joint_share(self, family: str, device: str) -> float:
        """Share of the joint front of all families that this family's networks make up.

        1 where the family's front dominates all others; shares add up to more than 1 where
        families have networks in common, or equal ones.
        """
        accuracy, latency = self._points(family, device)
        own = set(zip(accuracy.tolist(), latency.tolist(), strict=True))
        joint = self._joint_front(device)
        return sum(point in own for point in joint) / len(joint)

    def ranking(self, device: str) -> tuple[str, ...]:
        """Families by hypervolume on the device, the largest first."""
        return tuple(sorted(self.samples, key=lambda name: -self.hypervolume(name, device)))

    def to_frame(self) -> pd.DataFrame:
        """One row a network and device.

        Columns: family, device, architecture, accuracy, latency_ms, on_front (its family's) and
        on_joint_front.
        """
        import pandas as pd

        frames = []
        for family, sample in self.samples.items():
            spellings = [str(found) for found in self.space.architectures(sample.choices)]
            for device in self.devices:
                latency = sample.latency_ms[device]
                joint = set(self._joint_front(device))
                points = zip(sample.accuracy.tolist(), latency.tolist(), strict=True)
                own = np.isin(np.arange(len(latency)), self.front(family, device))
                columns = {
                    "family": family,
                    "device": device,
                    "architecture": spellings,
                    "accuracy": sample.accuracy,
                    "latency_ms": latency,
                    "on_front": own,
                    "on_joint_front": [point in joint for point in points],
                }
                frames.append(pd.DataFrame(columns))
        return pd.concat(frames, ignore_index=True)

    def summary(self) -> pd.DataFrame:
        """One row a family and device.

        Columns: family, device, networks, front_size, hypervolume and joint_share.
        """
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "family": family,
                    "device": device,
                    "networks": len(sample.choices),
                    "front_size": len(self.front(family, device)),
                    "hypervolume": self.hypervolume(family, device),
                    "joint_share": self.joint_share(family, device),
                }
                for device in self.devices
                for family, sample in self.samples.items()
            ]
        )

    def _points(self, family: str, device: str) -> tuple[Floats, Floats]:
        """Accuracies and latencies of a family on a device, shape (n,) each."""
        if family not in self.samples:
            raise UnknownNameError("family", family, self.samples)
        if device not in self.devices:
            raise UnknownNameError("device", device, self.devices)
        sample = self.samples[family]
        return sample.accuracy, sample.latency_ms[device]

    def _all_points(self, device: str) -> tuple[Floats, Floats]:
        points = [self._points(family, device) for family in self.samples]
        accuracy, latency = zip(*points, strict=True)
        return np.concatenate(accuracy), np.concatenate(latency)

    @cached_property
    def _joint_fronts(self) -> dict[str, list[tuple[float, float]]]:
        fronts = {}
        for device in self.devices:
            accuracy, latency = self._all_points(device)
            front = pareto_front(accuracy, latency)
            fronts[device] = list(
                zip(accuracy[front].tolist(), latency[front].tolist(), strict=True)
            )
        return fronts

    def _joint_front(self, device: str) -> list[tuple[float, float]]:
        return self._joint_fronts[device]


def compare_blocks(
    families: Mapping[str, Family],
    latency: Mapping[str, LatencySource],
    accuracy: AccuracySource,
    n: int = 200,
    *,
    seed: int = 0,
) -> BlockComparison:
    """Draw ``n`` different random networks of each family and compare their fronts by device.

    Each decision is drawn uniformly from the family's candidates. Random networks differ from one
    seed to the next, and so do hypervolumes: a difference counts where other seeds show it too.

    Parameters
    ----------
    families : mapping of str to sequence of sequences of int
        By name the candidates' indices that each decision may take, as of :func:`families_by`.
    latency : mapping of str to LatencySource
        By device, all of one space: predictors, or tables of measurements.
    accuracy : callable
        From n architectures to n accuracies. Asked once, about each different network once.
    n : int
    seed : int
        A family's networks depend on its own candidates and on the seed only.

    Raises
    ------
    InvalidValueError
        Without families or devices, for devices of different spaces, candidates that the space does
        not have, a family of fewer than ``n`` networks, and an accuracy source that gives no finite
        number for each network.
    """
    check_budget(n)
    check_seed(seed)
    if not families or not latency:
        raise InvalidValueError("there is nothing to compare", expected="a family and a device")
    spaces = {source.space.description: source.space for source in latency.values()}
    if len(spaces) > 1:
        raise InvalidValueError(
            "the devices' latencies are of different spaces", got="; ".join(sorted(spaces))
        )
    (space,) = spaces.values()
    drawn = {name: _sample(space, name, family, n, seed) for name, family in families.items()}
    rows, inverse = np.unique(np.concatenate(list(drawn.values())), axis=0, return_inverse=True)
    architectures: list[Architecture] = space.architectures(rows)
    scores = np.array(accuracies_of(accuracy, architectures))[inverse.ravel()]
    samples = {}
    for index, (name, choices) in enumerate(drawn.items()):
        own = scores[index * n : (index + 1) * n]
        by_device = {
            device: np.asarray(source.predict(choices), np.float64)
            for device, source in latency.items()
        }
        samples[name] = FamilySample(choices, own, by_device)
    return BlockComparison(space, tuple(latency), samples)


def families_by(
    space: SearchSpace, of: Callable[[str], str | None]
) -> dict[str, tuple[tuple[int, ...], ...]]:
    """Families of a space by a property of the candidates' names, such as the kernel.

    Parameters
    ----------
    space : SearchSpace
    of : callable
        From a candidate's name to the family that it belongs to; None for candidates, such as a
        skip, that every family may take.

    Returns
    -------
    dict of str to tuple of tuple of int
        By family, sorted, the indices of the candidates that each decision may take.

    Raises
    ------
    InvalidValueError
        Where no candidate belongs to a family, or a decision has no candidate of one.

    Examples
    --------
    ``families_by(get_space("proxyless"), lambda name: None if name == "Zero" else name[:3])`` has
    the families ``3x3``, ``5x5`` and ``7x7``.
    """
    owners = [[of(name) for name in names] for names in space.candidates]
    names = sorted({owner for row in owners for owner in row if owner is not None})
    if not names:
        raise InvalidValueError(f"no candidate of {space.name} belongs to a family", field="of")
    families = {}
    for name in names:
        allowed = tuple(
            tuple(index for index, owner in enumerate(row) if owner in (name, None))
            for row in owners
        )
        if () in allowed:
            raise InvalidValueError(
                f"decision {allowed.index(())} of {space.name} has no candidate of family {name}",
                field="of",
                hint="give None for candidates that every family may take",
            )
        families[name] = allowed
    return families


def _sample(space: SearchSpace, name: str, family: Family, n: int, seed: int) -> Choices:
    """Draw ``n`` different networks of a family, canonical, shape (n, decisions)."""
    _check_family(space, name, family)
    sizes = np.array([len(allowed) for allowed in family])
    table = np.zeros((len(family), sizes.max()), dtype=np.uint8)
    for decision, allowed in enumerate(family):
        table[decision, : len(allowed)] = allowed
    generator = np.random.default_rng(seed)
    found: Choices = np.empty((0, len(family)), dtype=np.uint8)
    idle = 0
    while len(found) < n and idle < _PATIENCE:
        places = (generator.random((4 * n, len(family))) * sizes).astype(np.int64)
        more = space.canonical(table[np.arange(len(family)), places])
        joined = np.concatenate([found, more])
        _, first = np.unique(joined, axis=0, return_index=True)
        idle = idle + 1 if len(first) == len(found) else 0
        found = joined[np.sort(first)]
    if len(found) < n:
        raise InvalidValueError(
            f"family {name} has only {len(found)} networks", field="n", got=str(n)
        )
    return found[:n]


def _check_family(space: SearchSpace, name: str, family: Family) -> None:
    if len(family) != len(space.num_choices):
        raise InvalidValueError(
            f"family {name} has the wrong number of decisions",
            field="families",
            expected=str(len(space.num_choices)),
            got=str(len(family)),
        )
    for decision, (allowed, size) in enumerate(zip(family, space.num_choices, strict=True)):
        if not len(allowed) or not all(0 <= choice < size for choice in allowed):
            raise InvalidValueError(
                f"family {name} has no such candidates for decision {decision}",
                field="families",
                expected=f"at least one of 0 to {size - 1}",
                got=str(tuple(allowed))[:80],
            )
