"""Packs: a fitted predictor in one file, with what it holds for and how good it is.

A pack is a zip file of ``manifest.json``, its digest ``manifest.sha256``, the predictor's files
under ``predictor/``, the held-out predictions and the opaque files of others under ``extra/``.
Everything is plain data: no pickle, nothing that runs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from latprof._version import __version__
from latprof.errors import InvalidValueError, PackSpaceError
from latprof.predictors.base import Batch, Floats, Prediction, Predictor
from latprof.predictors.pack.archive import read_archive, write_archive
from latprof.predictors.pack.shipped import resolve

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import SearchSpace
    from latprof.measurement.records import Target
    from latprof.measurement.statistics import NoiseFloor
    from latprof.predictors.fitting.evaluation import Metrics


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The rows that were not trained on: spelled architectures, and latencies of shape (n,)."""

    architectures: tuple[str, ...]
    measured_ms: Floats
    predicted_ms: Floats

    def __post_init__(self) -> None:
        rows = (len(self.architectures),)
        if self.measured_ms.shape != rows or self.predicted_ms.shape != rows:
            raise InvalidValueError("held-out rows have different lengths")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _nothing() -> Mapping[str, bytes]:
    return MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Pack:
    """A fitted predictor, and everything that a predicted number has to carry.

    Parameters
    ----------
    predictor : Predictor
        Fitted.
    target : Target, optional
        Where its milliseconds hold; None where nobody said.
    metrics : Metrics, optional
        Of the predictor on the held-out rows.
    comparison : mapping of str to Metrics
        Of all predictors tried on the same split, by name.
    noise_floor : NoiseFloor, optional
        How well the measurements repeat.
    reference : str
        Name of the reference network of the measurements.
    reference_ms : float, optional
        The constant that their ratios were multiplied with.
    training_rows : int
    interval_coverage, interval_relative : float
        Share of measurements inside the intervals, and half of the typical (median) interval as a
        share of the prediction; 0 and 0 where they are not known. In packs of format 1 all
        intervals are ``prediction * (1 +- interval_relative)``.
    held_out : HeldOut, optional
    created_at : str
        UTC, ISO 8601.
    latprof_version : str
    extra_files : mapping of str to bytes
        Files of others, kept as they are, for example a model for whole networks.
    """

    predictor: Predictor
    target: Target | None = None
    metrics: Metrics | None = None
    comparison: Mapping[str, Metrics] = field(default_factory=lambda: MappingProxyType({}))
    noise_floor: NoiseFloor | None = None
    reference: str = ""
    reference_ms: float | None = None
    training_rows: int = 0
    interval_coverage: float = 0.0
    interval_relative: float = 0.0
    held_out: HeldOut | None = None
    created_at: str = field(default_factory=_now)
    latprof_version: str = __version__
    extra_files: Mapping[str, bytes] = field(default_factory=_nothing)

    @property
    def space(self) -> SearchSpace:
        """The search space that the predictor knows."""
        return self.predictor.space

    def predict(self, architectures: Batch) -> Prediction:
        """Predict n architectures of :attr:`space`, with intervals; raises as Predictor.predict."""
        choices = self.space.canonical(self.space.choices(architectures))
        latency = self.predictor.predict(choices)
        calibration = self.predictor.calibration_
        if calibration is None:  # a pack of format 1: one width, as a share of the prediction
            ends = [latency * max(1 - self.interval_relative, 0.0)]
            ends.append(latency * (1 + self.interval_relative))
            low, high = np.minimum(*ends), np.maximum(*ends)  # a prediction may be below 0
            return Prediction(latency, low, high, self.interval_coverage, self.target)
        low, high, coverage = calibration.interval(choices, latency)
        distance = calibration.distance(choices)
        return Prediction(latency, low, high, coverage, self.target, distance)

    def check_space(self, space: SearchSpace) -> None:
        """Raise PackSpaceError unless the pack is for ``space``."""
        if space.description != self.space.description:
            raise PackSpaceError(
                "the pack was trained on another search space",
                expected=space.description,
                got=self.space.description,
                hint="train a pack for this space, or ask about the pack's",
            )


def save_pack(pack: Pack, path: str | os.PathLike[str]) -> None:
    """Write a pack in one step; ``path`` holds the old file or the new one, never a part.

    Raises InvalidValueError for a predictor that is not fitted or a file name that is none,
    OutputPathError and DiskFullError.
    """
    from latprof.predictors.pack.manifest import pack_to_files

    write_archive(path, *pack_to_files(pack))


def load_pack(path: str | os.PathLike[str], space: SearchSpace | None = None) -> Pack:
    """Read a pack.

    Parameters
    ----------
    path : path
        Of a file, or one of :func:`latprof.predictors.pack.shipped.pack_names`.
    space : SearchSpace, optional
        The space, where it is not one of :func:`latprof.datasets.spaces.named.get_space`; it must
        have the description that the pack states, else PackSpaceError.

    Raises
    ------
    PackError
        For a file that is missing, empty, truncated, no pack, or malformed in any way.
    PackAlteredError
        Where a file of the pack, or the manifest, is not what was written.
    PackVersionError
        For the format of a newer version.
    """
    from latprof.predictors.pack.manifest import pack_from_files

    name = resolve(os.fspath(path))
    return pack_from_files(name, read_archive(name), space)
