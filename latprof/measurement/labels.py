"""The one answer to "what did this store measure on this target", and how exact it is."""

from __future__ import annotations

import dataclasses
import time
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from latprof.errors import NotEnoughDataError, UsageError
from latprof.measurement.quiet.finding import Moment, find_constant, find_pooled_constant
from latprof.measurement.quiet.target_constant import Constant, Tie, is_better
from latprof.measurement.records import Target
from latprof.measurement.statistics import interval_around, quiet_kernels
from latprof.measurement.store.store import Store
from latprof.measurement.tables.label_table import (
    campaign_ending,
    label_table,
    noise_floor,
    references_ratios,
    repeats_table,
    stopped_by,
)
from latprof.measurement.tables.visit_table import visit_row, visit_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

    from latprof.measurement.records import KernelProfile, Subject
    from latprof.measurement.statistics import NoiseFloor
    from latprof.measurement.store.store import StoredTarget


#: Of a tie that is only the quotient of two constants, beyond theirs.
UNPAIRED_DOUBT = 0.05


class _Visits(NamedTuple):
    """What is read of a target's visits in one pass."""

    networks: pd.DataFrame
    ties: pd.DataFrame
    moments: tuple[Moment, ...]


class TargetLabels:
    """All that a store says of one target; each part is read when it is first asked for, once.

    A latency label is a network's ratio to the target's reference network times one constant: the
    milliseconds that the reference takes on the quiet host. **When the constant is frozen:**
    collecting freezes it when a campaign ends with no visit left to make
    (:func:`freeze_reference`), and nothing changes it afterwards. Until then every reader works
    with the value that would be frozen now. Readers write nothing, so a store that cannot be
    written can be read, and in whatever order they come they find the same milliseconds.

    The tables are shared by all who ask: copy one before changing it.

    Parameters
    ----------
    store : Store
        Open, and open for as long as parts are read.
    stored : StoredTarget
        One of its targets, as :meth:`Store.only_target` returns it.
    """

    def __init__(self, store: Store, stored: StoredTarget) -> None:
        self.store = store
        self.stored = stored

    @classmethod
    def of(cls, store: Store, target: str | Target | None = None) -> TargetLabels:
        """The only target of a store, or the one that ``target`` is or names.

        Raises as :meth:`latprof.measurement.store.store.Store.only_target`.
        """
        if isinstance(target, Target):
            return cls(store, store.stored_target(target))
        return cls(store, store.only_target(target))

    @classmethod
    def all_of(cls, store: Store) -> list[TargetLabels]:
        """Every target of which a store holds measurements, in the order they came."""
        return [cls(store, stored) for stored in store.targets() if stored.measurements]

    def __repr__(self) -> str:
        return f"TargetLabels({self.store.location}, {self.target.describe()})"

    @property
    def target(self) -> Target:
        """Where and how the networks ran."""
        return self.stored.target

    @property
    def reference(self) -> str:
        """The reference network's name."""
        return self.stored.reference

    # What a millisecond is ----------------------------------------------------------------------

    @property
    def is_frozen(self) -> bool:
        """Whether the constant is frozen; if not, more visits may still change all milliseconds."""
        return self.stored.reference_ms is not None

    @property
    def constant(self) -> Constant:
        """The constant and how far to trust it: the last version, or what would be frozen now.

        Raises NotEnoughDataError where no visit has samples.
        """
        return self.stored.constants[-1] if self.is_frozen else self.found_constant

    @cached_property
    def found_constant(self) -> Constant:
        """What would be frozen now if nothing was; raises as :attr:`constant`."""
        moments: Sequence[Moment] = self._read.moments
        ties = references_ratios(self._read.ties)
        if self.is_frozen:
            moments = [
                Moment.of(measurement.samples, measurement.conditions)
                for measurement in self.store.measurements(self.target)
                if measurement.samples is not None
            ]
        own = [moment for moment in moments if not moment.name]
        if own:
            found = find_pooled_constant(own)
        elif moments:  # only siblings so far, which are tied to nothing
            found = find_constant(moments)
        else:
            raise NotEnoughDataError(
                f"{self.store.location} holds no measurement without a failure"
            )
        for name in {m.name for m in moments} - {"", *ties}:
            of_sibling = find_constant([m for m in moments if m.name == name])
            ratio = of_sibling.reference_ms / found.reference_ms
            ties[name] = Tie(ratio, of_sibling.doubt + found.doubt + UNPAIRED_DOUBT, 0)
        return replace(found, ties=ties)

    @property
    def reference_ms(self) -> float:
        """The constant in ms; raises as :attr:`constant`."""
        return self.constant.reference_ms

    def tie(self, reference: str) -> Tie:
        """A reference's latency as a multiple of the target's own, whose name is empty."""
        if not reference:
            return Tie(1.0, 0.0, 0)
        known = self.constant.ties if reference in self.constant.ties else self.found_constant.ties
        return known[reference]

    @cached_property
    def specimens(self) -> dict[str, float]:
        """By how much the ratios of each specimen differ from their mean, where devices are pooled.

        Factors, which are divided out of the labels; empty where one device made all visits.
        """
        visits = self.visits
        if "specimen" not in visits:
            return {}
        made = visits[visits["failure_code"].isna()].groupby("specimen")["specimen_effect"]
        return {str(name): float(effect) for name, effect in made.first().items()}

    # End to end ---------------------------------------------------------------------------------

    @cached_property
    def visits(self) -> pd.DataFrame:
        """One row a visit, in the order they were stored.

        Columns: kind, space, subject, name, label, visit, started_at (Unix s), process, target_runs
        and reference_runs (counted runs of a burst over which the ratio is taken: as many as all
        visits to the network, and all to the target, made), ratio, raw_median_ms, raw_minimum_ms,
        reference_ms (median of the reference's burst medians), reference (which of the family it
        was, empty for the target's own), drift (fraction), timed_s (inside
        timed runs), load_s, wall_s, steal (fraction of all cores), withheld (fraction of the time),
        other_load (share of spare cores), load1, memory_quotient (copying a byte in memory over
        that in the cache), others_memory_gb_s (what the busiest other program went through a
        second; both NaN where nobody looked), preempted (share of the counted runs),
        waited (share of their time that they waited for a core; both NaN where unknown), disturbed,
        unusable (never part of a label), failure_code, failure_message, process_effect (the factor
        by which all ratios of the visit's process are off, see
        :mod:`latprof.measurement.process_effects`), where devices are pooled specimen and
        specimen_effect (a part of process_effect), and on a GPU or a phone its readings after the
        visit, ``gpu_...`` and ``phone_...``.

        Raises NotEnoughDataError where there is none.
        """
        visits = self._read.networks
        if visits.empty:
            raise NotEnoughDataError(
                f"{self.store.location} holds no measurements of {self.target.describe()}"
            )
        siblings = set(visits["reference"]) - {""}
        if siblings:
            of = {name: self.tie(name).ratio for name in siblings} | {"": 1.0}
            visits["ratio"] *= visits["reference"].map(of)
        return visits

    @cached_property
    def _read(self) -> _Visits:
        """All visits: those to networks, those to siblings of the reference, and their moments."""
        rows, moments = [], []
        for measurement in self.store.measurements(self.target):
            with self.store.reading("table measurements, conditions"):
                rows.append(visit_row(measurement))
            if measurement.samples is not None and not self.is_frozen:
                moments.append(Moment.of(measurement.samples, measurement.conditions))
        if not rows:
            raise NotEnoughDataError(
                f"{self.store.location} holds no measurements of {self.target.describe()}"
            )
        table = visit_table(rows, lambda: self.store.measurements(self.target))
        of_siblings = table["kind"] == "reference"
        return _Visits(
            table[~of_siblings].reset_index(drop=True), table[of_siblings], tuple(moments)
        )

    @cached_property
    def labels(self) -> pd.DataFrame:
        """One row a network and label: ``label`` is 0 for the measurement, 1 for its repetition.

        Columns: kind, space, subject, label, name, visits (that count), ratio (process effects
        divided out), latency_ms (ratio times :attr:`reference_ms`), low_ms, high_ms (a 90 %
        interval from the spread of the visits, NaN for a single visit, wider by the doubt of a
        constant that is not a quiet host's and what others put in doubt), raw_median_ms, preempted
        (share of the runs) and taken (the same, or the share of their time that they waited for a
        core, whichever is larger; both NaN where unknown), doubt (by what the interval is wider
        than the visits show, on logarithms), reference (of the family, as in ``visits``),
        stopped_by, which says what ended the visits: ``"half-width"``,
        ``"visits"``, ``"time"``, ``"failures"``, ``"interrupted"``, or nothing where no campaign is
        known (:func:`latprof.measurement.tables.label_table.stopped_by`).

        Raises NotEnoughDataError where no visit has samples.
        """
        table = label_table(self.visits, self.reference_ms)
        with self.store.reading("a campaign"):
            endings = {campaign["id"]: campaign_ending(campaign) for campaign in self.campaigns}
        last = self.store.last_campaigns(self.target)
        table["stopped_by"] = stopped_by(table, self.visits, endings, last)
        of_ties = table["reference"].map(lambda name: self.tie(name).widening)
        table["doubt"] = np.hypot(np.hypot(table["doubt"], of_ties), self.constant.widening)
        half = np.hypot(np.log(table["high_ms"] / table["low_ms"]) / 2, table["doubt"])
        low_ms, high_ms = interval_around(table["latency_ms"], half)
        table["low_ms"] = table["low_ms"].where(table["doubt"] == 0, low_ms)
        table["high_ms"] = table["high_ms"].where(table["doubt"] == 0, high_ms)
        return table

    @cached_property
    def repeats(self) -> pd.DataFrame:
        """One row a network that was measured again: columns of :attr:`labels`, and ..._again."""
        return repeats_table(self.labels)

    @cached_property
    def noise_floor(self) -> NoiseFloor | None:
        """How well a label repeats; None where nothing was visited twice."""
        return noise_floor(self.labels, self.visits)

    @property
    def spaces(self) -> list[str]:
        """The descriptions of the search spaces whose architectures were measured.

        Raises NotEnoughDataError for none.
        """
        visits = self.visits
        measured = visits[(visits["kind"] == "architecture") & visits["failure_code"].isna()]
        if measured.empty:
            raise NotEnoughDataError(
                f"{self.store.location} holds no measured architectures of a search space",
                hint="collect some with latprof collect",
            )
        return [str(space) for space in measured["space"].unique()]

    def one_space(self) -> str:
        """The description of the one search space whose architectures were measured.

        Raises NotEnoughDataError for none, UsageError for several.
        """
        first, *others = self.spaces
        if others:
            raise UsageError(
                f"{self.store.location} holds architectures of several spaces",
                expected="one space",
                got=str(1 + len(others)),
                hint="say which (--space), or keep each space in a store of its own",
            )
        return first

    # Kernels ------------------------------------------------------------------------------------

    def kernel_profiles(self) -> Iterator[tuple[Subject, KernelProfile]]:
        """Every network whose kernels were timed, their times as the quiet host would have them.

        Read afresh: the profiles of thousands of networks are held by nobody.
        """
        for subject, profile in self.store.kernel_profiles(self.target):
            tie = self.tie(profile.samples.reference_name).ratio
            kernels = quiet_kernels(profile, self.reference_ms * tie)
            yield subject, dataclasses.replace(profile, kernels=kernels)

    @cached_property
    def kernels(self) -> pd.DataFrame:
        """One row a kernel: space, subject, position, kind, name, block, latency_ms (quiet)."""
        import pandas as pd

        columns = ["space", "subject", "position", "kind", "name", "block", "latency_ms"]
        return pd.DataFrame(self._kernel_rows(), columns=columns)

    def _kernel_rows(self) -> Iterator[tuple[object, ...]]:
        for subject, profile in self.kernel_profiles():
            for kernel in profile.kernels:
                block = kernel.name.rpartition(".")[0] if subject.kind == "architecture" else ""
                if not kernel.operators:  # their names are numbers: changes of memory layout
                    block = "added by the runtime"
                yield (
                    subject.space,
                    subject.key,
                    kernel.position,
                    kernel.kind,
                    kernel.name,
                    block or kernel.name,
                    kernel.latency_ms,
                )

    # How it was collected -----------------------------------------------------------------------

    @cached_property
    def campaigns(self) -> tuple[Mapping[str, Any], ...]:
        """The collections, oldest first, as :meth:`Store.campaigns` gives them."""
        return tuple(self.store.campaigns(self.target))

    @property
    def protocol(self) -> Mapping[str, Any]:
        """The settings of the last campaign's protocol; empty where no campaign is known."""
        return self.campaigns[-1]["protocol"] if self.campaigns else {}

    @property
    def conditions(self) -> Mapping[str, Any]:
        """What the last campaign found on its host: ``facts`` and ``checks``, where known."""
        return self.campaigns[-1]["host"] if self.campaigns else {}


def freeze_reference(store: Store, target: Target) -> float:
    """Freeze the constant of a target whose campaign is complete; return it, in ms.

    A constant that is frozen already gives way where a much better one was found since, or lacks a
    sibling of the reference that networks were measured against. Of a constant that an older
    latprof froze nobody knows how good it is: it stays, unless one of a quiet host differs by more
    than that could be wrong. Raises NotEnoughDataError where no visit has samples.
    """
    known = TargetLabels.of(store, target)
    found = known.found_constant
    found = replace(found, found={**found.found, "found_at": time.time()})
    if not known.is_frozen:
        return store.freeze_constant(target, found).reference_ms
    last = known.constant
    if is_better(found, last):
        return store.freeze_constant(target, found, after=last.number).reference_ms
    if missing := {name: tie for name, tie in found.ties.items() if name not in last.ties}:
        more = replace(last, ties={**last.ties, **missing})
        return store.freeze_constant(target, more, after=last.number).reference_ms
    return last.reference_ms


def labels(store: str | PathLike[str] | Store, target: str | None = None) -> pd.DataFrame:
    """Return one row a network: its latency on the one target of a store.

    Parameters
    ----------
    store : path, URL or Store
    target : str, optional
        Which target, where the store holds several; see :meth:`Store.only_target`.

    Returns
    -------
    DataFrame
        As :attr:`TargetLabels.labels`, without the repetitions for the noise floor.

    Raises
    ------
    StoreError
        When there is no store.
    TargetMismatchError
        When the store holds several targets that fit.
    NotEnoughDataError
        When it holds no measurement.
    """
    with nullcontext(store) if isinstance(store, Store) else Store.open(fspath(store)) as opened:
        table = TargetLabels.of(opened, target).labels
    return table[table["label"] == 0].drop(columns="label").reset_index(drop=True)
