"""A user's own space that raises, or says what cannot be: an error that names the function."""

import sys
import threading

import pytest

import latprof
from latprof.common.own_code.calling import called, called_by_command, error_of_own_code
from latprof.errors import LatprofError, OwnCodeError

SPACE = """
import functools
import latprof


class Odd(latprof.SearchSpace):
    name = "odd-of-mine"
    candidates = (("a", "b"),) * 3
    input_shape = (3, 8, 8)

    def blocks(self, architecture):
        return ()

    def head(self, architecture, batch_size=1):
        return ()

    {change}
"""
RAISING = {
    "name": "name = property(lambda self: 1 / 0)",
    "candidates": "candidates = property(lambda self: [][1])",
    "cached candidates": "candidates = functools.cached_property(lambda self: [][1])",
    "input_shape": "input_shape = property(lambda self: {}['size'])",
    "recursion": "num_architectures = property(lambda self: self.num_architectures)",
    "exit": "reference_resolution = property(lambda self: __import__('sys').exit(0))",
    "init": "def __init__(self): raise OSError('x' * 100_000)",
    "not JSON": "options = {'x': object()}",
}
WRONG = {
    "candidates": ("5", "None", "()", "'abc'", "((),)", "((1, 2),)", "(('a',) * 300,)"),
    "input_shape": ("None", "()", "(3, 8, 0)", "(3, float('nan'), 8)", "(3, 60000, 60000)"),
    "num_architectures": ("0", "float('nan')", "'many'"),
    "reference_resolution": ("1e9", "None"),
    "options": ("5", "{'x': float('inf')}"),
}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Make a space of a changed class, found by its name."""

    def make(change):
        (tmp_path / "odd_of_mine.py").write_text(SPACE.format(change=change))
        sys.modules.pop("odd_of_mine", None)
        return latprof.get_space("odd_of_mine:Odd")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # the module changes within a second
    yield make
    sys.modules.pop("odd_of_mine", None)


@pytest.mark.parametrize("member", RAISING)
def test_what_it_raises_is_said_with_its_place(own, member):
    with pytest.raises(OwnCodeError) as caught:
        own(RAISING[member])
    if member != "not JSON":  # which is of a value
        assert "of odd_of_mine.py, in Odd." in str(caught.value)
    assert "Odd" in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("member", "value"), [(member, value) for member, values in WRONG.items() for value in values]
)
def test_what_it_says_of_itself_is_looked_at(own, member, value):
    with pytest.raises(OwnCodeError, match=f"Odd.{member} "):
        own(f"{member} = {value}")
    with pytest.raises(OwnCodeError, match=f"Odd.{member} returned something else.*expected"):
        own(f"{member} = property(lambda self: {value})")


def test_whatever_is_asked_of_it_later(own, monkeypatch):
    monkeypatch.setattr("latprof.datasets.spaces.base.PATIENCE", 20)
    space = own("def blocks(self, architecture): yield from [5]")
    with pytest.raises(OwnCodeError, match=r"Odd.blocks returned .*expected a tuple of blocks"):
        space.macs(space.sample(1)[0])
    space = own("def head(self, architecture, batch_size=1): return batch_size / 0")
    with pytest.raises(OwnCodeError, match=r"Odd\.head raised ZeroDivisionError"):
        space.onnx_bytes(space.sample(1)[0])
    space = own("def active(self, choices): return choices")
    with pytest.raises(OwnCodeError, match=r"Odd.active returned .*truth values"):
        space.encode(space.sample(1))
    space = own("def canonical(self, choices): return choices * 0")
    with pytest.raises(LatprofError, match="fewer networks than"):
        space.sample(2)
    assert len(own("").sample(8)) == 8


def test_a_network_with_more_weights_than_a_file_holds_is_not_built(own):
    space = own(
        """def blocks(self, architecture):
        from latprof.datasets import Place, mobile_inverted_block
        place = Place("wide", 0, 1 << 20, 1 << 20, 8)
        return (mobile_inverted_block(place, "a", kernel=3, expansion=6),)"""
    )
    with pytest.raises(LatprofError, match="no weights that can be made"):
        space.onnx_bytes(space.sample(1)[0])


def test_calls_of_a_command_that_do_not_return_are_spoken_of(capsys):
    said, told = [], threading.Event()

    def say(text):
        said.append(text)
        told.set()

    with called_by_command(say, after_s=0.01), called("Odd.blocks"), called("an inner call"):
        print("epoch 3")
        assert told.wait(60)
    assert said[0].startswith("Odd.blocks has not returned for 0.01 s")
    assert capsys.readouterr() == ("", "epoch 3\n")  # stdout is the result's


def test_what_latprof_itself_raises_is_not_blamed_on_others(monkeypatch):
    monkeypatch.setattr("latprof.common.own_code.calling.in_use", set())
    with pytest.raises(AttributeError) as caught:
        latprof.SearchSpace.architectures(None, None)
    assert error_of_own_code(caught.value, set()) is None
