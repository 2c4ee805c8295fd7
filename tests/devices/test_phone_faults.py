"""A short run of the faults of phones: each kind once, at a moment of its own."""

from tests.fuzz import phone_faults
from tests.fuzz.outcomes import BAD


def test_each_kind_of_fault_loses_no_visit_and_ends_with_its_code(tmp_path):
    kinds = len(phone_faults.KINDS)
    numbers = [kinds * (5 * number % phone_faults.MOMENTS) + number for number in range(kinds)]
    found = list(phone_faults.faults(numbers, 0, tmp_path))
    assert [kind for kind, _, _ in found] == list(phone_faults.KINDS)
    assert [detail for _, outcome, detail in found if outcome == BAD] == []
