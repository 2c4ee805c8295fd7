"""Features of kernel configurations, and the roofline that their times are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.predictors.kernels.configurations import CONTEXT, NUMBERS

if TYPE_CHECKING:
    from latprof.predictors.kernels.configurations import Configurations

Floats: TypeAlias = NDArray[np.float64]

_ALIGNMENTS = (4, 8, 16)
#: Logarithms are taken of these numbers.
_SIZES = ("run", "read", "written", "weights", "macs", *CONTEXT)
#: These stay as they are.
_PLAIN = tuple(name for name in NUMBERS if name not in _SIZES)

FEATURES = (
    *_PLAIN,
    *(f"log_{name}" for name in _SIZES),
    "log_roofline",
    "log_intensity",
    "log_footprint",
    "log_positions",
    "log_in_per_group",
    "log_out_per_group",
    "in_per_group_mod_8",
    "out_per_group_mod_8",
    *(f"in_channels_mod_{n}" for n in _ALIGNMENTS),
    *(f"out_channels_mod_{n}" for n in _ALIGNMENTS),
    "in_channels_twos",
    "out_channels_twos",
    "out_width_mod_4",
    "out_height_twos",
    "channel_blocks",
)


@dataclass(frozen=True)
class Roofline:
    """A roofline (Williams et al. 2009) with a cost a kernel; ceilings as seen, not as stated.

    ``per_mac`` and ``per_value`` are milliseconds of a multiply-accumulate and of a value moved at
    the best rate seen of any kernel; ``per_kernel`` is what the smallest kernels take.
    """

    per_mac: float
    per_value: float
    per_kernel: float

    @classmethod
    def of(cls, configurations: Configurations, latency_ms: Floats) -> Roofline:
        """The best rates among timed kernels."""
        macs, values = configurations.column("macs"), moved(configurations)
        fastest = np.max(macs / latency_ms, initial=0.0), np.max(values / latency_ms, initial=0.0)
        per_mac, per_value = (float(1 / rate) if rate > 0 else 0.0 for rate in fastest)
        return cls(per_mac, per_value, float(np.quantile(latency_ms, 0.02)))

    def expected_ms(self, configurations: Configurations) -> Floats:
        """What times are compared with: a smooth roofline, shape (n,)."""
        work = self.per_mac * configurations.column("macs")
        result: Floats = work + self.per_value * moved(configurations) + self.per_kernel
        return result

    def floor_ms(self, configurations: Configurations) -> Floats:
        """What no kernel of this work has been seen to beat, shape (n,)."""
        return np.maximum(
            self.per_mac * configurations.column("macs"), self.per_value * moved(configurations)
        )


def moved(configurations: Configurations) -> Floats:
    """Values read and written, weights among them, shape (n,)."""
    parts = [configurations.column(name) for name in ("read", "written", "weights")]
    total: Floats = np.sum(parts, axis=0)
    return total


def features(configurations: Configurations, expected_ms: Floats) -> Floats:
    """What the trees split: shape (n, len(FEATURES))."""
    column = configurations.column
    inputs, outputs = column("in_channels"), column("out_channels")
    groups = np.maximum(column("groups"), 1)
    sizes = [np.log1p(column(name)) for name in _SIZES]
    return np.column_stack(
        [
            *(column(name) for name in _PLAIN),
            *sizes,
            np.log(expected_ms),
            np.log1p(column("macs")) - np.log1p(moved(configurations)),
            np.log1p(moved(configurations)),
            np.log(np.maximum(column("batch") * column("out_height") * column("out_width"), 1)),
            *(np.log(np.maximum(channels / groups, 0.1)) for channels in (inputs, outputs)),
            *(channels / groups % 8 for channels in (inputs, outputs)),
            *(inputs % n for n in _ALIGNMENTS),
            *(outputs % n for n in _ALIGNMENTS),
            _twos(inputs),
            _twos(outputs),
            column("out_width") % 4,
            _twos(column("out_height")),
            np.ceil(outputs / 8),
        ]
    )


def _twos(values: Floats) -> Floats:
    """How often 2 divides each, at most 10 times."""
    whole = np.maximum(values, 1).astype(np.int64)
    return np.minimum(np.log2((whole & -whole).astype(np.float64)), 10.0)
