"""Whether a device takes time for what no path from input to output crosses.

Some runtimes drop dead operators when they load a network, others run them. A space says which
architecture is left of each (:meth:`~latprof.datasets.spaces.base.SearchSpace.pruned`), and a model
is fitted to the architectures as they are named and to the pruned ones: rows left out show which
describes the device, or how much of each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr
from latprof.predictors.fitting.grid import all_choices, is_small

if TYPE_CHECKING:
    from latprof.common.checked_json import Fields
    from latprof.datasets.spaces.base import SearchSpace

Floats: TypeAlias = NDArray[np.float64]
Choices: TypeAlias = NDArray[np.uint8]

#: The hypotheses: every operator is run; dead ones are not; something between.
UNPRUNED, PRUNED, BOTH = "unpruned", "pruned", "both"
#: Rows that are enough to tell, and from which only what is left of the hypotheses is fitted whole.
_TELLING_ROWS = 1000
#: Rows from which one hypothesis is taken alone unless both together are clearly better; below,
#: each counts as much as it is likely.
_MANY_ROWS = 200
#: How much more likely it is beforehand that every operator is run: as most runtimes do, and since
#: the error of few rows left out says little.
_PRIOR_ODDS = 10.0
#: Weights below this are none.
_LEAST_WEIGHT = 0.02
#: A blend counts as clearly better where its squared error is lower by more standard errors.
_DEVIATIONS = 2.0


class Fitted(Protocol):
    """What a fit of one hypothesis has."""

    @property
    def held_ms(self) -> Floats:
        """Predictions of the training rows, each left out, shape (n,)."""


Fit = TypeVar("Fit", bound=Fitted)


@dataclass(frozen=True, eq=False, repr=False)
class NetworkFits(ShortRepr, Generic[Fit]):
    """The hypotheses that are kept, their weights, and what they predict for rows left out."""

    fits: Mapping[str, Fit]
    weights: Mapping[str, float]
    held_ms: Floats

    @property
    def networks(self) -> str:
        """``"unpruned"``, ``"pruned"`` or ``"both"``."""
        return BOTH if len(self.fits) > 1 else next(iter(self.fits))


def networks_from_fields(fields: Fields) -> str:
    """The networks that a pack states; unpruned where it states none, as older packs do."""
    if "networks" not in fields.values:
        return UNPRUNED
    networks = fields.text("networks", 20)
    if networks not in (UNPRUNED, PRUNED, BOTH):
        fields.wrong("networks", f"{UNPRUNED}, {PRUNED} or {BOTH}")
    return networks


def viewed(space: SearchSpace, networks: str, choices: Choices) -> Choices:
    """The architectures that a hypothesis is of, shape (n, decisions)."""
    return space.pruned(choices) if networks == PRUNED else choices


def fit_networks(
    space: SearchSpace,
    choices: Choices,
    latency_ms: Floats,
    fit: Callable[[str, Choices, Floats], Fit],
    quick_fit: Callable[[str, Choices, Floats], Fit] | None = None,
) -> NetworkFits[Fit]:
    """Fit the hypotheses to n rows and weigh them.

    ``fit`` takes a hypothesis, the architectures under it and their latencies; ``quick_fit`` does
    the same where there are many rows, to leave out hypotheses.
    """
    names = [UNPRUNED]
    if not np.array_equal(space.pruned(choices), choices):
        names.append(PRUNED)

    def fitted(
        rows: NDArray[np.int64], names: list[str], fit: Callable[[str, Choices, Floats], Fit]
    ) -> NetworkFits[Fit]:
        latency = latency_ms[rows]
        fits = {name: fit(name, viewed(space, name, choices[rows]), latency) for name in names}
        held = np.stack([each.held_ms for each in fits.values()], axis=1)
        weights = _weights(held, latency, together=is_small(space.num_choices.tolist()))
        kept = [name for name, weight in zip(names, weights.tolist(), strict=True) if weight]
        return NetworkFits(
            {name: fits[name] for name in kept},
            dict(zip(kept, weights[weights > 0].tolist(), strict=True)),
            held @ weights,
        )

    everything = np.arange(len(choices))
    few = _TELLING_ROWS if quick_fit is None else _MANY_ROWS
    if len(names) > 1 and len(choices) > few:
        some = np.random.default_rng(0).permutation(everything)[:_TELLING_ROWS]
        names = [*fitted(np.sort(some), names, quick_fit or fit).fits]
    return fitted(everything, names, fit)


def over_space(
    space: SearchSpace, found: NetworkFits[Fit], predict: Callable[[Fit, Choices], Floats]
) -> Floats:
    """What a small space's architectures take, one axis a decision, in ms.

    ``predict`` takes a fit and the architectures under its hypothesis.
    """
    sizes = space.num_choices.tolist()
    everything = all_choices(sizes)
    total = np.zeros(len(everything))
    for name, weight in found.weights.items():
        total += weight * predict(found.fits[name], viewed(space, name, everything))
    return total.reshape(sizes)


def _weights(held_ms: Floats, latency_ms: Floats, *, together: bool) -> Floats:
    """How much each hypothesis counts, from predictions of rows left out, shape (n, hypotheses).

    With few rows as the likelihood of normal errors has it. With many the better one alone, unless
    a blend is clearly better; ``together`` says whether a blend can be kept.
    """
    squared = (held_ms - latency_ms[:, None]) ** 2
    errors = np.maximum(squared.mean(axis=0), 1e-300)
    best = int(np.argmin(errors))
    alone: Floats = np.eye(len(errors))[best]
    if len(errors) == 1 or not together:
        return alone
    if len(latency_ms) < _MANY_ROWS:
        likely = np.exp(-0.5 * len(latency_ms) * np.log(errors / errors[best]))
        likely[1:] /= _PRIOR_ODDS
        likely[likely < _LEAST_WEIGHT * likely.sum()] = 0.0
        weights: Floats = likely / likely.sum()
        return weights
    difference = held_ms[:, 1] - held_ms[:, 0]
    rest = latency_ms - held_ms[:, 0]
    share = float(difference @ rest) / max(float(difference @ difference), 1e-300)
    share = min(max(share, 0.0), 1.0)
    blend = np.array([1 - share, share])
    gain = squared[:, best] - (held_ms @ blend - latency_ms) ** 2
    clear = gain.mean() > _DEVIATIONS * gain.std(ddof=1) / np.sqrt(len(gain))
    return blend if clear and blend.min() >= _LEAST_WEIGHT else alone
