"""A digest changes with all that a class uses, and with nothing else."""

import functools
import importlib
import sys

import pytest

from latprof.common.own_code.source_digest import source_digest
from latprof.datasets.spaces.proxyless import ProxylessSpace

BLOCKS = """
SCALE = 3

def used():
    return SCALE

def not_used():
    return 4
"""
SPACE = """
from blocks_of_mine import used
import json

KINDS = [1,
         2]

class Base:
    depth = 1

class Space(Base):
    # a remark
    def f(self):
        import late_of_mine
        return used() + KINDS[0] + late_of_mine.VALUE

def accuracy():
    return 1
"""
FILES = {"blocks_of_mine": BLOCKS, "space_of_mine": SPACE, "late_of_mine": "VALUE = 5\n"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in FILES:
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("file", "before", "after", "changes"),
    [
        ("space_of_mine", "# a remark", "# another", False),
        ("space_of_mine", "\n\ndef accuracy", "\n\n\n# long\ndef accuracy", False),
        ("space_of_mine", "return 1\n", "return 2\n", False),
        ("blocks_of_mine", "return 4", "return 5", False),
        ("space_of_mine", "KINDS[0]", "KINDS[1]", True),
        ("space_of_mine", "         2]", "         3]", True),
        ("space_of_mine", "depth = 1", "depth = 2", True),
        ("blocks_of_mine", "SCALE = 3", "SCALE = 4", True),
        ("late_of_mine", "5", "6", True),
    ],
)
def test_a_change_of_what_is_used_changes_the_digest(folder, file, before, after, changes):
    found = source_digest(importlib.import_module("space_of_mine").Space)
    path = folder / f"{file}.py"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    again = source_digest(importlib.import_module("space_of_mine").Space)
    assert (again != found) == changes
    assert len(found) == 16


def test_what_is_in_no_file_is_known_by_its_functions():
    def made(text):
        names = {"__name__": "notebook_of_mine"}
        exec(f"class Space:\n    width = 3\n    def f(self):\n        return {text}\n", names)
        return source_digest(names["Space"])

    assert made("1") == made("1") != made("2")


def test_a_function_with_arguments_bound_is_known_by_them():
    def build(widths, depth):
        return widths, depth

    one, other = (functools.partial(build, depth=depth) for depth in (1, 2))
    assert source_digest(one) != source_digest(other)
    assert source_digest(one) == source_digest(functools.partial(build, depth=1))


def test_a_function_is_known_by_the_values_around_it():
    def made(depth):
        def build(widths):
            return widths, depth

        return source_digest(build)

    assert made(1) == made(1) != made(2)


def test_a_space_of_latprofs_has_none():
    assert ProxylessSpace().source_digest == ""
    assert "source" not in ProxylessSpace().description


def test_a_class_of_latprofs_that_is_another_by_subclassing_has_one():
    class Mine(ProxylessSpace):
        name = "mine"

    assert not Mine().is_found_by_name
    assert len(Mine().source_digest) == 16
    assert ProxylessSpace().difference_from(Mine().description) == "it is 'mine', not 'proxyless'"
