"""Times of single kernels: one boosted model a family, in log(time / roofline).

Where another target's kernels are known, the model of those stands in place of the roofline: what
is learnt is how much faster or slower this target is, for which far fewer kernels are enough.

Never faster than the best rate of multiply-accumulates or of values moved that was seen on the
target, and never less than for half of the images, rows or channels of the same kernel.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.checked_json import Fields, refusing
from latprof.common.short_reprs import ShortRepr
from latprof.predictors.kernels.configurations import CONTEXT, NUMBERS, Configurations
from latprof.predictors.kernels.forests import Forest
from latprof.predictors.kernels.kernel_features import FEATURES, Roofline, features
from latprof.predictors.kernels.nearest_families import is_quantized, level_of, nearest_family

Floats: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]

#: The model of a family that training never saw: fitted to the kernels of all families.
ANY = ""
#: How far outside the training's sizes, as a factor, a kernel is still within its range.
SIZE_TOLERANCE = 1.5
_EXACT = ("kernel_height", "kernel_width", "stride", "dilation")
#: What tells kinds of kernels, and no sizes.
_UNBOUNDED = ("activation", "last", "after", "run", "turns")
#: What is halved to ask whether less work would take longer, and the sizes that follow.
_HALVED = (
    ("batch", ("read", "written", "macs")),
    ("out_height", ("height", "read", "written", "macs")),
)
#: Configurations whose own times a model may hold, and how far these may be from its trees.
_MOST_SEEN = 100_000
_LARGEST_SEEN = 20.0
#: Error of the logarithm of a kernel that was measured, and the least where a family speaks for
#: another, and where one in floats speaks for one in bytes: these were 4 to 5 times slower.
_MEASURED_ERROR, _FOREIGN_ERROR, _BYTES_ERROR = 0.1, 0.5, 1.5


@dataclass(frozen=True, eq=False, repr=False)
class FamilyModel(ShortRepr):
    """What is known of one family.

    Parameters
    ----------
    first : int
        Number of its first tree.
    base : float
        Of log(time / roofline).
    low, high : array of shape (26,)
        Least and largest of each number in training.
    windows : frozenset of tuple
        Kernel sides, stride and dilation seen in training.
    error : float
        Root mean square of the logarithm's error on kernels left out.
    """

    first: int
    base: float
    low: Floats
    high: Floats
    windows: frozenset[tuple[float, ...]]
    error: float

    def covers(self, numbers: Floats) -> Mask:
        """Whether kernels, shape (n, 26), lie within the training range, shape (n,)."""
        sizes = [
            i for i, name in enumerate(NUMBERS) if name not in (*_EXACT, *CONTEXT, *_UNBOUNDED)
        ]
        inside = (numbers[:, sizes] >= self.low[sizes] / SIZE_TOLERANCE) & (
            numbers[:, sizes] <= self.high[sizes] * SIZE_TOLERANCE
        )
        exact = window_of(numbers).tolist()
        known = np.array([tuple(row) in self.windows for row in exact], dtype=bool)
        result: Mask = inside.all(axis=1) & known
        return result

    def to_dict(self) -> dict[str, Any]:
        """Return it as values for JSON."""
        return dataclasses.asdict(self) | {"windows": sorted(map(list, self.windows))}

    @classmethod
    def of_fields(cls, fields: Fields, trees: int) -> FamilyModel:
        """Rebuild it; raises PackError."""
        size = (len(NUMBERS),)
        windows = fields.array("windows", (None, len(_EXACT)))
        return cls(
            fields.integer("first", 0, trees),
            fields.number("base", -100, 100),
            fields.array("low", size),
            fields.array("high", size),
            frozenset(map(tuple, windows.tolist())),
            fields.number("error", 0, 100),
        )


@dataclass(frozen=True, eq=False, repr=False)
class KernelTimes(ShortRepr):
    """Predicted times of n kernels: ``latency_ms``, whether each is ``covered``, and its ``error``.

    ``error`` is the expected root mean square error of the logarithm, shape (n,).
    """

    latency_ms: Floats
    covered: Mask
    error: Floats


@dataclass(frozen=True, eq=False, repr=False)
class KernelModel(ShortRepr):
    """Fitted times of kernels on one target; made by :func:`fit_kernel_model`.

    Parameters
    ----------
    roofline : Roofline
    families : mapping of str to FamilyModel
        :data:`ANY` among them.
    forest : Forest
        The trees of all families, ``trees`` each.
    trees : int
    seen : mapping of int to float
        What to add to the logarithm for configurations that were timed, by their digest.
    measured : frozenset of int
        Of these, what was measured after training: covered, whatever the training range is.
    prior : KernelModel, optional
        Of another target: its times are what this one's are compared with. It has none itself.
    """

    roofline: Roofline
    families: Mapping[str, FamilyModel]
    forest: Forest
    trees: int
    seen: Mapping[int, float] = dataclasses.field(default_factory=dict)
    measured: frozenset[int] = frozenset()
    prior: KernelModel | None = None

    def predict(self, kernels: Configurations) -> KernelTimes:
        """Times of kernels in ms, none faster than the target was seen to be."""
        if not len(kernels):
            nothing = np.empty(0)
            return KernelTimes(nothing, np.empty(0, dtype=bool), nothing)
        digests = kernels.digests(context=True)
        number = {digest: i for i, digest in enumerate(dict.fromkeys(digests))}
        of = np.array([number[digest] for digest in digests])
        first = np.zeros(len(number), dtype=np.int64)
        first[of[::-1]] = np.arange(len(digests))[::-1]
        once = self._predict(kernels.rows(first))
        return KernelTimes(once.latency_ms[of], once.covered[of], once.error[of])

    def _predict(self, kernels: Configurations) -> KernelTimes:
        halved, which = _halves(kernels)
        both, covered, error = self._logarithms(Configurations.joined([kernels, halved]))
        count = len(kernels)
        digests = kernels.digests()
        families = kernels.families.tolist()
        # What was timed of a family without trees of its own was compared with those of all.
        seen = [
            self.seen.get(digest, 0.0)
            if family in self.families or digest in self.measured
            else 0.0
            for digest, family in zip(digests, families, strict=True)
        ]
        log_ms = both[:count] + np.array(seen)
        np.maximum.at(log_ms, which, both[count:])
        own = np.array([digest in self.measured for digest in digests], dtype=bool)
        floor = np.where(own, 0.0, self.roofline.floor_ms(kernels))
        error = np.where(own, np.minimum(error[:count], _MEASURED_ERROR), error[:count])
        return KernelTimes(np.maximum(np.exp(log_ms), floor), covered[:count] | own, error)

    def speaker(self, family: str) -> FamilyModel:
        """The trees that answer for a family: its own, the nearest's, or those of all."""
        names = (family, family.partition(" ")[0], nearest_family(family))
        known = (self.families[name] for name in names if name in self.families)
        return next(known, self.families[ANY])

    def _logarithms(self, kernels: Configurations) -> tuple[Floats, Mask, Floats]:
        """The trees' logarithm of the time, whether it is within range, and its error."""
        expected = expected_ms(self.roofline, self.prior, kernels)
        covered, error = np.zeros(len(kernels), dtype=bool), np.zeros(len(kernels))
        first, base = np.zeros(len(kernels), dtype=np.int64), np.zeros(len(kernels))
        for family in set(kernels.families.tolist()):  # np.unique imports masked arrays
            which = np.flatnonzero(kernels.families == family)
            model = self.families.get(family)
            inside = np.zeros(len(which), dtype=bool)
            if model is not None:
                inside = model.covers(kernels.numbers[which])
            other = self.speaker(family)
            foreign = _BYTES_ERROR if is_quantized(family) else _FOREIGN_ERROR
            least = 0.15 if model is not None else foreign
            level = 0.0 if model is not None else math.log(level_of(family))
            first[which], base[which], covered[which] = other.first, other.base + level, inside
            error[which] = np.where(inside, other.error, 2 * max(other.error, least))
        grown = self.forest.sums(features(kernels, expected), first, self.trees)
        return np.log(expected) + base + grown, covered, error


def expected_ms(roofline: Roofline, prior: KernelModel | None, kernels: Configurations) -> Floats:
    """What times of n kernels are compared with, shape (n,).

    The shortest kernels are all about as long on one target, whatever they take on another.
    """
    if prior is None:
        return roofline.expected_ms(kernels)
    result: Floats = prior.predict(kernels).latency_ms + roofline.per_kernel
    return result


def window_of(numbers: Floats) -> Floats:
    """Kernel sides, stride and dilation of kernels, shape (n, 4)."""
    return numbers[:, [NUMBERS.index(name) for name in _EXACT]]


def _halves(kernels: Configurations) -> tuple[Configurations, NDArray[np.int64]]:
    """The same kernels with half of the images, and of the rows, and which they are made of."""
    found, which = [kernels.numbers[:0]], [np.empty(0, dtype=np.int64)]
    for name, following in _HALVED:
        column = kernels.column(name)
        even = np.flatnonzero((column >= 2) & (column % 2 == 0))
        numbers = kernels.numbers[even]
        for each in (name, *following):
            numbers[:, NUMBERS.index(each)] /= 2
        found.append(numbers)
        which.append(even)
    rows = np.concatenate(which)
    return Configurations(kernels.families[rows], np.concatenate(found)), rows


def model_files(model: KernelModel) -> tuple[dict[str, Any], bytes]:
    """The model as values for JSON, and its trees; those of its prior lie behind them."""
    values = {"numbers": NUMBERS, "features": FEATURES, **_values_of(model)}
    if model.prior is None:
        return values, model.forest.to_bytes()
    values["prior"] = _values_of(model.prior, before=len(model.forest))
    return values, Forest.joined([model.forest, model.prior.forest]).to_bytes()


def _values_of(model: KernelModel, before: int = 0) -> dict[str, Any]:
    """A model without its prior, ``before`` trees of another lying before its own."""
    values: dict[str, Any] = {
        "roofline": dataclasses.asdict(model.roofline),
        "trees": model.trees,
        "families": {
            name: dataclasses.replace(family, first=before + family.first).to_dict()
            for name, family in model.families.items()
        },
        "seen": [[format(d, "016x"), round(v, 4)] for d, v in model.seen.items()],
    }
    if model.measured:
        values["measured"] = [format(digest, "016x") for digest in sorted(model.measured)]
    return values


def model_of_files(fields: Fields, trees: bytes) -> KernelModel:
    """Rebuild a model; raises PackError for what :func:`model_files` did not make."""
    if fields.texts("numbers") != NUMBERS or fields.texts("features") != FEATURES:
        fields.wrong("features", "those of this version of latprof: train the pack again")
    forest = Forest.from_bytes(trees, len(FEATURES))
    model = _model_of(fields, forest)
    if "prior" not in fields.values:
        return model
    return dataclasses.replace(model, prior=_model_of(fields.fields("prior"), forest))


def _model_of(fields: Fields, forest: Forest) -> KernelModel:
    """A model whose trees are among those of a forest."""
    count = fields.integer("trees", 0, len(forest))
    listed = fields.fields("families")
    families = {
        name: FamilyModel.of_fields(listed.fields(name), len(forest) - count)
        for name in listed.values
    }
    if ANY not in families:
        fields.wrong("families", "a model for any family")
    roofline = fields.fields("roofline")
    ceilings = Roofline(
        roofline.number("per_mac", 0.0),
        roofline.number("per_value", 0.0),
        roofline.number("per_kernel", 1e-300),
    )
    seen = _seen(fields)
    return KernelModel(ceilings, families, forest, count, seen, _measured(fields, seen))


def _measured(fields: Fields, seen: Mapping[int, float]) -> frozenset[int]:
    if "measured" not in fields.values:
        return frozenset()
    with refusing(f"{fields.what}: field measured"):
        found = frozenset(int(digest, 16) for digest in fields.texts("measured"))
    if not found <= seen.keys():
        fields.wrong("measured", "kernels that were timed")
    return found


def _seen(fields: Fields) -> dict[int, float]:
    listed = fields.values.get("seen")
    if not isinstance(listed, list) or len(listed) > _MOST_SEEN:
        fields.wrong("seen", "what was timed")
    with refusing(f"{fields.what}: field seen"):
        seen = {int(digest, 16): float(value) for digest, value in listed}
    if not all(abs(value) < _LARGEST_SEEN for value in seen.values()):
        fields.wrong("seen", "logarithms")
    return seen
