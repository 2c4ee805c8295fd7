"""The contract suite of stores: subclass it in your own tests with a database's URL.

::

    class TestOurDatabase(StoreContract):
        @pytest.fixture
        def location(self):
            with an_empty_database() as url:
                yield url  # "postgresql+psycopg://..."
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from latprof.errors import (
    InputFileError,
    NotEnoughDataError,
    StoreError,
    TargetMismatchError,
)
from latprof.measurement.records import (
    KernelProfile,
    KernelTime,
    PairedSamples,
    Subject,
    Target,
)
from latprof.measurement.store.store import Store
from latprof.measurement.store.trails import Trails, TrailStep
from latprof.measurement.visits import Failure, Measurement

OpenStore: TypeAlias = Callable[..., Store]

TARGET = Target("cpu", "a processor", "onnxruntime", "1.0", input_shape=(1, 3, 224, 224))
#: What a database may turn into something else: case, spaces, length, other scripts.
AWKWARD = ("a", "A", "a ", " a", "ä", "モデル", "x" * 3000, "o'clock", "50%", "a\\b", "a\nb")
#: A float that has no short decimal form, the least and the largest plausible ones.
FLOATS = (0.1 + 0.2, 1e-9, 123456789.12345679)


class StoreContract:
    """What :class:`latprof.measurement.store.store.Store` promises on a database, as tests.

    A subclass gives the fixture ``location``: a path or an SQLAlchemy URL of an empty database,
    which is thrown away after each test.
    """

    @pytest.fixture
    def location(self, tmp_path: Path) -> str | Path:
        """Where a store can be made; a new place for each test."""
        return tmp_path / "store.db"

    @pytest.fixture
    def open_store(self, location: str | Path) -> OpenStore:
        """Opens the store at ``location``; takes ``create``."""
        return lambda *, create=False: Store.open(location, create=create)

    @pytest.fixture
    def store(self, open_store: OpenStore) -> Iterator[Store]:
        """A store that knows one target."""
        with open_store(create=True) as opened:
            opened.add_target(TARGET, "reference")
            yield opened

    # Making --------------------------------------------------------------------------------

    def test_a_store_is_made_only_when_asked(self, open_store: OpenStore) -> None:
        with pytest.raises(StoreError):
            open_store()
        open_store(create=True).close()
        open_store().close()

    def test_several_processes_may_make_it_at_the_same_moment(self, open_store: OpenStore) -> None:
        def make(_number: int) -> str:
            with open_store(create=True) as opened:
                opened.add_target(TARGET, "reference")
                return opened.stored_target(TARGET).reference

        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(make, range(8))) == {"reference"}

    # Visits --------------------------------------------------------------------------------

    def test_what_is_added_is_there_for_another_connection(
        self, store: Store, open_store: OpenStore
    ) -> None:
        visit = _measurement(conditions={"before": {"load1": 0.5}, "after": {"load1": 0.7}})
        assert store.add(visit)

        with open_store() as other:
            assert list(other.measurements(TARGET)) == [visit]

    @pytest.mark.parametrize("number", FLOATS)
    def test_numbers_come_back_to_the_bit(self, store: Store, number: float) -> None:
        visit = _measurement(started_at=1.7e9 + number, wall_s=number, load_s=number / 3)
        store.add(visit)

        assert list(store.measurements(TARGET)) == [visit]

    def test_names_that_look_alike_stay_apart(self, store: Store) -> None:
        for name in AWKWARD:
            assert store.add(_measurement(name)), name

        found = list(store.measurements(TARGET))
        assert [visit.subject.key for visit in found] == list(AWKWARD)
        assert [visit.subject.name for visit in found] == [f"space:{name}" for name in AWKWARD]

    def test_one_visit_counts_once_whoever_stores_it(
        self, store: Store, open_store: OpenStore
    ) -> None:
        with open_store() as other:
            assert store.add(_measurement())
            assert not other.add(_measurement())
            assert other.add(_measurement(visit=1))
        assert len(list(store.measurements(TARGET))) == 2

    def test_writers_at_the_same_time_lose_nothing(
        self, store: Store, open_store: OpenStore
    ) -> None:
        def write(number: int) -> int:
            with open_store() as mine:
                return sum(mine.add(_measurement(f"n{v % 3}", visit=v)) for v in range(number, 12))

        with ThreadPoolExecutor(3) as pool:
            added = sum(pool.map(write, (0, 3, 6)))
        assert added == 12
        assert {v.visit for v in store.measurements(TARGET)} == set(range(12))

    def test_a_failure_is_kept_and_finishes_no_visit(self, store: Store) -> None:
        failed = _measurement(samples=None, failure=Failure("timeout", "too long: " + "x" * 2000))
        store.add(failed)
        store.add(_measurement("b"))

        assert list(store.measurements(TARGET)) == [failed, _measurement("b")]
        finished = store.finished_visits(TARGET)
        assert finished == {_measurement("b").key}

    # Targets -------------------------------------------------------------------------------

    def test_targets_are_never_mixed(self, store: Store) -> None:
        other = dataclasses.replace(TARGET, threads=2)
        store.add_target(other, "reference")
        store.add(_measurement())
        store.add(_measurement(target=other, visit=5))

        assert [visit.visit for visit in store.measurements(TARGET)] == [0]
        assert [visit.visit for visit in store.measurements(other)] == [5]
        assert [found.target for found in store.targets()] == [TARGET, other]
        assert [found.measurements for found in store.targets()] == [1, 1]
        with pytest.raises(TargetMismatchError):
            store.only_target()
        assert store.only_target("2 threads").target == other

    def test_a_target_keeps_its_reference_network(
        self, store: Store, open_store: OpenStore
    ) -> None:
        with pytest.raises(TargetMismatchError):
            store.add_target(TARGET, "another")
        with open_store() as other:
            other.add_target(TARGET, "reference")
            assert other.stored_target(TARGET).reference == "reference"
            assert len(other.targets()) == 1

    def test_the_reference_constant_is_frozen_once(
        self, store: Store, open_store: OpenStore
    ) -> None:
        store.add(_measurement())
        assert store.stored_target(TARGET).reference_ms is None
        frozen = store.freeze_reference_ms(TARGET, FLOATS[0])
        assert frozen == FLOATS[0]

        assert store.freeze_reference_ms(TARGET, 1.0) == frozen
        with open_store() as other:
            assert other.stored_target(TARGET).reference_ms == frozen

    def test_an_empty_store_says_so(self, open_store: OpenStore) -> None:
        with open_store(create=True) as opened:
            assert opened.targets() == []
            with pytest.raises(NotEnoughDataError):
                opened.only_target()

    # Kernels, campaigns, searches ----------------------------------------------------------

    def test_kernels_come_back_in_order_and_are_stored_once(self, store: Store) -> None:
        subject = _measurement().subject
        kernels = tuple(
            KernelTime(i, "conv1x1", f"k{i}", (f"n{i}", "ä"), 0.1 * i, ((1, 3),), ((1, 4),))
            for i in range(30)
        )
        profile = KernelProfile(kernels, _SAMPLES, 1000.0, "host/1")

        assert store.add_kernels(subject, TARGET, profile)
        assert not store.add_kernels(subject, TARGET, profile)
        assert list(store.kernel_profiles(TARGET)) == [(subject, profile)]

    def test_campaigns_are_kept_with_their_plans(self, store: Store, open_store: OpenStore) -> None:
        plan = {"networks": 14, "name": "モデル", "long": "x" * 70_000}
        numbers = [store.start_campaign(TARGET, plan, {"rounds": 2}, {"cores": 2}) for _ in "ab"]
        store.end_campaign(numbers[1])

        with open_store() as other:
            first, second = other.campaigns(TARGET)
        assert [first["id"], second["id"]] == numbers
        assert first["plan"] == plan
        assert (first["protocol"], first["host"]) == ({"rounds": 2}, {"cores": 2})
        assert first["ended_at"] is None
        assert second["ended_at"] >= second["started_at"]

    def test_a_search_is_kept_step_by_step(self, store: Store, open_store: OpenStore) -> None:
        steps = [TrailStep(f"space:{i}", 90.0 + i, FLOATS[i], FLOATS[i] * 2) for i in range(3)]
        trails = Trails(store)
        number = trails.begin({"method": "random"})
        for index, step in enumerate(steps):
            trails.add(number, index, step)

        with open_store() as other:
            again = Trails(other)
            assert again.begin({"method": "random"}) == number
            assert again.begin({"method": "evolution"}) != number
            assert again.steps(number) == steps

    def test_a_transaction_is_kept_as_a_whole_or_not_at_all(self, store: Store) -> None:
        trails = Trails(store)
        number = trails.begin({"method": "random"})
        trails.add(number, 0, TrailStep("space:0", 90.0, 1.0, 1.0))
        with pytest.raises(ZeroDivisionError):
            _delete_and_fail(store)

        assert len(trails.steps(number)) == 1

    def test_errors_are_ours(self, store: Store) -> None:
        with pytest.raises(InputFileError), store.transaction() as connection:
            connection.exec_driver_sql("SELECT x FROM no_such_table")


_SAMPLES = PairedSamples(((9.0, 10.0, 10.0),) * 2, ((8.0, 5.0, 5.0),) * 3, dropped_runs=1)


def _measurement(name: str = "a", visit: int = 0, **changes: Any) -> Measurement:
    made = Measurement(
        subject=Subject("architecture", name, f"space:{name}", "space"),
        target=TARGET,
        label=0,
        visit=visit,
        started_at=1000.0 + visit,
        wall_s=0.2,
        load_s=0.05,
        process="host/1",
        samples=_SAMPLES,
    )
    return dataclasses.replace(made, **changes)


def _delete_and_fail(store: Store) -> None:
    with store.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM search_steps")
        raise ZeroDivisionError
