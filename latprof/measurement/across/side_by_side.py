"""The same networks on several targets: their milliseconds, their order, how well each repeats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.html_parts import html_table
from latprof.common.short_reprs import ShortRepr
from latprof.errors import NotEnoughDataError
from latprof.measurement.tables.visit_table import NETWORK

if TYPE_CHECKING:
    import pandas as pd

    from latprof.measurement.labels import TargetLabels
    from latprof.measurement.records import Target
    from latprof.measurement.statistics import NoiseFloor

Floats: TypeAlias = NDArray[np.float64]

#: Fewer networks than this give no rank correlation worth a number.
FEWEST_NETWORKS = 5


@dataclass(frozen=True, repr=False)
class SideBySide(ShortRepr):
    """Networks that two or more targets measured.

    Parameters
    ----------
    targets : tuple of Target
    names : tuple of str
        Short names of the targets, all different.
    networks : tuple of str
        Names of those that every target measured.
    latency_ms : array of shape (networks, targets)
    measured : tuple of int
        Networks that each target measured, those of other targets' lack included.
    noise_floors : tuple of NoiseFloor or None
        How well each target's measurements repeat.
    """

    targets: tuple[Target, ...]
    names: tuple[str, ...]
    networks: tuple[str, ...]
    latency_ms: Floats
    measured: tuple[int, ...]
    noise_floors: tuple[NoiseFloor | None, ...]

    def _repr_html_(self) -> str:
        rows = [
            (name, count, f"{relative:.3f}", *(f"{rank:.3f}" for rank in ranks))
            for name, count, relative, ranks in zip(
                self.names, self.measured, self.relative, self.spearman, strict=True
            )
        ]
        header = ("target", "networks", "relative latency", *(f"Spearman {n}" for n in self.names))
        return html_table(f"{len(self.networks)} networks side by side", rows, header)

    @property
    def spearman(self) -> Floats:
        """Rank correlation of each two targets, shape (targets, targets); NaN for few networks."""
        return self._correlation("spearman")

    @property
    def kendall(self) -> Floats:
        """Kendall's tau-b of each two targets, shape (targets, targets); NaN for few networks."""
        return self._correlation("kendall")

    def _correlation(self, method: Any) -> Floats:
        import pandas as pd

        frame = pd.DataFrame(self.latency_ms)
        found: Floats = frame.corr(method=method, min_periods=FEWEST_NETWORKS).to_numpy()
        return found

    @property
    def relative(self) -> Floats:
        """Geometric mean of each target's latency over the fastest target's, shape (targets,)."""
        logarithms = np.log(self.latency_ms).mean(axis=0)
        ratios: Floats = np.exp(logarithms - logarithms.min())
        return ratios


def side_by_side(sources: Sequence[TargetLabels]) -> SideBySide:
    """Gather what two or more targets, of one store or of several, measured alike.

    Raises NotEnoughDataError where no network was measured on all of them.
    """
    columns: list[pd.Series[float]] = []
    names: dict[tuple[str, ...], str] = {}
    for measured in sources:
        labels = measured.labels
        first = labels[labels["label"] == 0].set_index(NETWORK)
        names |= dict(zip(first.index, first["name"], strict=True))
        columns.append(first["latency_ms"])
    common = [key for key in columns[0].index if all(key in c.index for c in columns[1:])]
    targets = tuple(measured.target for measured in sources)
    if not common:
        raise NotEnoughDataError(
            f"no network was measured on all of {len(targets)} targets",
            hint="collect the same networks: the same --space, --seed and -n for each target",
        )
    return SideBySide(
        targets,
        target_names(targets),
        tuple(names[key] for key in common),
        np.column_stack([column.loc[common].to_numpy(dtype=np.float64) for column in columns]),
        tuple(map(len, columns)),
        tuple(measured.noise_floor for measured in sources),
    )


def target_names(targets: Sequence[Target]) -> tuple[str, ...]:
    """Short names: the spelling, and what distinguishes targets of one spelling."""
    found = []
    for target in targets:
        others = [t for t in targets if t.spelling == target.spelling and t != target]
        fields = {line.partition(" ")[0] for other in others for line in target.differences(other)}
        words = [_words(target, field) for field in _WORDS if field in fields]
        found.append(" ".join([target.spelling, *filter(None, words)]))
    return tuple(
        name if found.count(name) == 1 else f"{name} ({found[:position].count(name) + 1})"
        for position, name in enumerate(found)
    )


#: How a field is written, in the order of writing.
_WORDS = {
    "mode": "{}",
    "precision": "{}",
    "batch_size": "batch {}",
    "threads": "{} threads",
    "input_shape": "{}",
    "cores": "cores {}",
    "runtime_version": "{}",
    "device_name": "on {}",
    "host": "host {}",
}


def _words(target: Target, field: str) -> str:
    value = getattr(target, field)
    if isinstance(value, tuple):
        value = "x".join(map(str, value))
    return _WORDS[field].format(value) if value not in (None, "") else ""
