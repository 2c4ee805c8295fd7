"""Stores and databases that each break one requirement; ``breaks`` names the tests that say so."""

import contextlib
import dataclasses
from typing import Any

import numpy as np
import pytest

from latprof.errors import NotEnoughDataError, StoreError, TargetMismatchError
from latprof.measurement.store.store import Store
from latprof.testing.store_contract import StoreContract


class Broken(StoreContract):
    Made: Any

    @pytest.fixture
    def open_store(self, location):
        return lambda *, create=False: self.Made.open(location, create=create)


class TestMadeUnasked(Broken):
    breaks = ("test_a_store_is_made_only_when_asked",)

    class Made(Store):
        @classmethod
        def open(cls, location, *, create=False):
            return super().open(location, create=True)


class TestMadeByOneOnly(Broken):
    breaks = ("test_several_processes_may_make_it_at_the_same_moment",)

    class Made(Store):
        @classmethod
        def open(cls, location, *, create=False):
            if create and location.exists():
                raise StoreError("another process has made it")
            return super().open(location, create=create)


class TestKeptInMemory(Broken):
    breaks = ("test_what_is_added_is_there_for_another_connection",)

    class Made(Store):
        def add(self, measurement, campaign_id=None):
            return True


class TestSinglePrecision(Broken):
    breaks = ("test_numbers_come_back_to_the_bit",)

    class Made(Store):
        def add(self, measurement, campaign_id=None):
            rounded = float(np.float32(measurement.wall_s))
            return super().add(dataclasses.replace(measurement, wall_s=rounded), campaign_id)


class TestCaseIgnored(Broken):
    breaks = ("test_names_that_look_alike_stay_apart",)

    class Made(Store):
        def add(self, measurement, campaign_id=None):
            subject = measurement.subject
            subject = dataclasses.replace(subject, key=subject.key.lower().strip())
            return super().add(dataclasses.replace(measurement, subject=subject), campaign_id)


class TestCountsTwice(Broken):
    breaks = ("test_one_visit_counts_once_whoever_stores_it",)

    class Made(Store):
        def add(self, measurement, campaign_id=None):
            super().add(measurement, campaign_id)
            return True


class TestLosesSome(Broken):
    breaks = ("test_writers_at_the_same_time_lose_nothing",)

    class Made(Store):
        def add(self, measurement, campaign_id=None):
            return measurement.visit == 7 or super().add(measurement, campaign_id)


class TestFailureFinishes(Broken):
    breaks = ("test_a_failure_is_kept_and_finishes_no_visit",)

    class Made(Store):
        def finished_visits(self, target):
            return {
                (m.subject.kind, m.subject.space, m.subject.key, m.label, m.visit)
                for m in self.measurements(target)
            }


class TestTargetsMixed(Broken):
    breaks = ("test_targets_are_never_mixed",)

    class Made(Store):
        def measurements(self, target, limit=None):
            for stored in self.targets():
                yield from super().measurements(stored.target, limit)


class TestOtherReference(Broken):
    breaks = ("test_a_target_keeps_its_reference_network",)

    class Made(Store):
        def add_target(self, target, reference):
            with contextlib.suppress(TargetMismatchError):
                super().add_target(target, reference)


class TestNeverFrozen(Broken):
    breaks = ("test_the_reference_constant_is_frozen_once",)

    class Made(Store):
        def freeze_reference_ms(self, target, reference_ms):
            return reference_ms


class TestSilentlyEmpty(Broken):
    breaks = ("test_an_empty_store_says_so",)

    class Made(Store):
        def only_target(self, spelling=None):
            with contextlib.suppress(NotEnoughDataError):
                return super().only_target(spelling)


class TestKernelsOutOfOrder(Broken):
    breaks = ("test_kernels_come_back_in_order_and_are_stored_once",)

    class Made(Store):
        def kernel_profiles(self, target):
            for subject, profile in super().kernel_profiles(target):
                yield subject, dataclasses.replace(profile, kernels=profile.kernels[::-1])


class TestPlansCut(Broken):
    breaks = ("test_campaigns_are_kept_with_their_plans",)

    class Made(Store):
        def start_campaign(self, target, plan, protocol, host):
            cut = {key: str(value)[:255] for key, value in plan.items()}
            return super().start_campaign(target, cut, protocol, host)


class TestStepsLost(Broken):
    breaks = ("test_a_search_is_kept_step_by_step",)

    class Made(Store):
        @contextlib.contextmanager
        def transaction(self):
            with super().transaction() as connection:
                yield connection
                connection.exec_driver_sql("DELETE FROM search_steps WHERE number = 1")


class TestHalfATransaction(Broken):
    breaks = ("test_a_transaction_is_kept_as_a_whole_or_not_at_all",)

    class Made(Store):
        @contextlib.contextmanager
        def transaction(self):
            failed = None
            with super().transaction() as connection:
                try:
                    yield connection
                except ZeroDivisionError as error:
                    failed = error
            if failed is not None:
                raise failed


class TestForeignErrors(Broken):
    breaks = ("test_errors_are_ours",)

    class Made(Store):
        @contextlib.contextmanager
        def transaction(self):
            try:
                with super().transaction() as connection:
                    yield connection
            except StoreError as error:
                raise RuntimeError(str(error)) from None
