"""What one visit to a network is: its record, its place in a store, and counts of many."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from latprof.common.checked_json import Fields
from latprof.common.short_reprs import ShortRepr
from latprof.errors import InvalidValueError, LatprofError, error_from_code
from latprof.measurement.records import PairedSamples, Subject, Target


@dataclass(frozen=True)
class Failure:
    """Why a visit has no samples: an error's stable code and its line."""

    code: str
    message: str

    @classmethod
    def of(cls, error: LatprofError) -> Failure:
        """The failure that an error means."""
        return cls(error.code, str(error))

    def error(self) -> LatprofError:
        """The error of this code, to be raised where there is nothing to keep the failure in."""
        return error_from_code(self.code, self.message)

    def to_dict(self) -> dict[str, str]:
        """Return the failure as plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Failure:
        """Rebuild a failure from :meth:`to_dict`; raises InvalidValueError for anything else."""
        fields = Fields("failure", values, InvalidValueError)
        return cls(fields.text("code"), fields.text("message"))


@dataclass(frozen=True, kw_only=True, repr=False)
class Visit(ShortRepr):
    """One fresh load of a network and its paired cycle: samples or a failure, never both.

    Parameters
    ----------
    started_at : float
        Unix time in seconds.
    wall_s : float
        The whole visit's time.
    load_s : float
        The part that built and loaded the network, as far as it was not prepared before.
    process : str
        Names the measuring process.
    samples : PairedSamples, optional
    failure : Failure, optional
    conditions : mapping
        The state of what the network ran on, ``"before"`` and ``"after"`` the timed runs
        (:mod:`latprof.measurement.quiet.conditions`).
    """

    started_at: float
    wall_s: float
    load_s: float
    process: str
    samples: PairedSamples | None = None
    failure: Failure | None = None
    conditions: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.samples is None) == (self.failure is None):
            raise InvalidValueError("a visit has either samples or a failure")

    @staticmethod
    def failed(error: LatprofError, started_at: float, wall_s: float) -> Visit:
        """The visit that an error ended before a measuring process could say anything of it."""
        failure = Failure.of(error)
        return Visit(started_at=started_at, wall_s=wall_s, load_s=0.0, process="", failure=failure)

    @property
    def ok(self) -> bool:
        """Whether the visit produced samples."""
        return self.samples is not None

    def to_dict(self) -> dict[str, Any]:
        """Return the visit as plain JSON values."""
        return {
            "started_at": self.started_at,
            "wall_s": self.wall_s,
            "load_s": self.load_s,
            "process": self.process,
            "samples": None if self.samples is None else self.samples.to_dict(),
            "failure": None if self.failure is None else self.failure.to_dict(),
            "conditions": dict(self.conditions),
        }

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Visit:
        """Rebuild a visit from :meth:`to_dict`; raises InvalidValueError for anything else."""
        fields = Fields("visit", values, InvalidValueError)
        samples, failure = fields.optional_fields("samples"), fields.optional_fields("failure")
        conditions = fields.fields("conditions")
        for moment in conditions.values.keys() & {"before", "after"}:
            conditions.fields(moment)
        return Visit(
            started_at=fields.number("started_at"),
            wall_s=fields.number("wall_s"),
            load_s=fields.number("load_s"),
            process=fields.text("process"),
            samples=None if samples is None else PairedSamples.from_dict(samples.values),
            failure=None if failure is None else Failure.from_dict(failure.values),
            conditions=conditions.values,
        )


@dataclass(frozen=True)
class VisitKey:
    """Which visit this is, among those to one target: the ``number``-th to a network, from 0.

    ``label`` is 0 for the measurement proper and 1 for its repetition (the pairs from which the
    noise floor comes).
    """

    subject: Subject
    label: int
    number: int


@dataclass(frozen=True, kw_only=True, repr=False)
class Measurement(Visit):
    """A visit as a store keeps it: to which network, on which target.

    ``label`` and ``visit`` are the label and the number of its :class:`VisitKey`. A ``disturbed``
    visit has samples, but conditions changed while they were taken: it is kept, made again, and
    left out of the statistics.
    """

    subject: Subject
    target: Target
    label: int
    visit: int
    disturbed: bool = False

    @property
    def key(self) -> VisitKey:
        """Which visit this is."""
        return VisitKey(self.subject, self.label, self.visit)

    @classmethod
    def of_visit(
        cls, made: Visit, key: VisitKey, target: Target, *, disturbed: bool
    ) -> Measurement:
        """A visit that was made, with its place in a store."""
        parts = {part.name: getattr(made, part.name) for part in dataclasses.fields(Visit)}
        return cls(
            **parts,
            subject=key.subject,
            target=target,
            label=key.label,
            visit=key.number,
            disturbed=disturbed,
        )


@dataclass(frozen=True, repr=False)
class VisitCounts(ShortRepr):
    """What became of the visits that were planned.

    Parameters
    ----------
    made : int
        With samples, in whichever try.
    failed : int
        Given up after their retries, or not tried any more after that.
    disturbed : int
        Of ``made``: conditions changed during the last try, too, and they count all the same.
    repeated : int
        Tries that failed or were disturbed and were made again; no visit of the others.
    disturbed_tries : int
        Of all tries, in ``repeated`` or the last of their visit.
    busy : bool
        The host disturbed so many visits in a row that they were not made again.
    failures : tuple of (str, Failure)
        A network's name and why, for each visit that was given up.
    """

    made: int = 0
    failed: int = 0
    disturbed: int = 0
    repeated: int = 0
    disturbed_tries: int = 0
    busy: bool = False
    failures: tuple[tuple[str, Failure], ...] = ()

    @property
    def tries(self) -> int:
        """All tries: each visit's last one, and those that were repeated."""
        return self.made + self.failed + self.repeated

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain JSON values, for the result that they belong to."""
        return {
            "visits_made": self.made,
            "visits_failed": self.failed,
            "visits_disturbed": self.disturbed,
            "tries_repeated": self.repeated,
            "failures": [{"network": name, **failure.to_dict()} for name, failure in self.failures],
        }

    def describe(self) -> str:
        """One line for people."""
        disturbed = f" ({self.disturbed} of them disturbed)" if self.disturbed else ""
        repeated = f"; tries repeated: {self.repeated}" if self.repeated else ""
        return f"{self.made} made{disturbed}, {self.failed} failed{repeated}"

    def notes(self) -> list[str]:
        """Whatever makes the result rest on less than was planned, a sentence each."""
        notes = []
        if self.failed:
            reasons = dict.fromkeys(f"{f.message} [{f.code}]" for _, f in self.failures)
            notes.append(
                f"{self.failed} of {self.made + self.failed} visits failed and are missing from "
                f"the result: {'; '.join([*reasons][:3])}"
            )
        if self.disturbed:
            notes.append(
                f"{self.disturbed} of {self.made} visits were disturbed in their last try, "
                "too, and count all the same; latprof doctor may say why"
            )
        return notes
