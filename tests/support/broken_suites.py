"""Runs contract suites on implementations that break them, to show that the suites can fail."""

from collections import defaultdict

import pytest


class _Outcomes:
    def __init__(self):
        self.failed = defaultdict(set)
        self.errors = []
        self.why = []

    def pytest_runtest_logreport(self, report):
        suite, test = report.nodeid.split("::")[-2:]
        if report.failed and report.when == "call":
            self.failed[suite].add(test.partition("[")[0])
            self.why.append(f"{suite}: {report.longrepr.reprcrash.message.splitlines()[0]}")
        elif report.failed or report.skipped:  # the implementation was not tried
            self.errors.append(f"{suite}: {report.longreprtext[-500:]}")


def requirements_of(contract):
    """Names of a contract suite's tests."""
    return {name for name in dir(contract) if name.startswith("test_")}


def run_broken(file, suites):
    """Run of each class of ``file`` the tests that it names in ``breaks``.

    ``suites`` are the classes. In what is returned, ``failed`` has the tests by class name, ``why``
    what each said, and ``errors`` what kept a test from being run.
    """
    outcomes = _Outcomes()
    nodes = [f"{file}::{suite.__name__}::{test}" for suite in suites for test in suite.breaks]
    pytest.main(["-q", "--no-header", "--no-summary", "-p", "no:cov", *nodes], plugins=[outcomes])
    return outcomes
