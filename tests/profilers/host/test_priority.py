"""A measuring process goes before others where it may, and nowhere else."""

import os
import subprocess
import sys

import pytest

from latprof.profilers.host.priority import HIGHEST, take_precedence


class Niceness:
    """A process's niceness; ``may`` says whether it may be lowered."""

    def __init__(self, now=0, *, may=True):
        self.now, self.may = now, may

    def __call__(self, by):
        if by < 0 and not self.may:
            raise PermissionError
        self.now += by
        return self.now


def test_a_process_that_may_goes_before_others_and_its_session_too(tmp_path):
    nice, group = Niceness(), tmp_path / "autogroup"
    group.write_text("/autogroup-1 nice 0\n")
    assert take_precedence(group, nice)
    assert nice.now == HIGHEST
    assert group.read_text() == "-20\n"


@pytest.mark.parametrize("nice", [Niceness(19), Niceness(1), Niceness(-5), Niceness(may=False)])
def test_what_the_user_chose_or_the_system_forbids_stays(tmp_path, nice):
    before = nice.now
    assert not take_precedence(tmp_path / "autogroup", nice)
    assert nice.now == before
    assert not (tmp_path / "autogroup").exists()


def test_a_system_without_niceness_or_groups_of_sessions_is_no_error(tmp_path):
    assert not take_precedence(tmp_path / "autogroup", None)
    assert take_precedence(tmp_path / "missing" / "autogroup", Niceness())


def test_on_this_host_it_is_an_answer():
    """In a process and a session of its own: this one is to stay as it is."""
    program = (
        "import os; from latprof.profilers.host.priority import take_precedence; "
        "print(take_precedence(), os.nice(0))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
        start_new_session=True,
    )
    answer, niceness = done.stdout.split()
    assert niceness == (str(HIGHEST) if answer == "True" else str(os.nice(0)))
