"""Representations that fit on a line: arrays by their shape, long containers cut."""

from __future__ import annotations

import dataclasses
import math
import reprlib
from collections.abc import Sequence
from typing import Any


class _Short(reprlib.Repr):
    """The standard library's short representations, and arrays by their shape alone."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = 4
        self.maxlevel, self.maxstring, self.maxother = 2, 60, 120

    def repr_ndarray(self, array: Any, level: int) -> str:  # noqa: ARG002 - found by its name
        return f"array{array.shape}"

    def repr_mappingproxy(self, mapping: Any, level: int) -> str:
        return self.repr_dict(dict(mapping), level)


_SHORT = _Short()


def short(value: object) -> str:
    """Represent a value in about a hundred characters; an array is ``array(4000, 21)``."""
    return _SHORT.repr(value)


#: Devices of a farm that one line names.
MOST_DEVICES = 20


def first_names(names: Sequence[str], most: int = 5) -> str:
    """The first of some names: ``"a, b and 3 more"``."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def whole_percent(share: float) -> str:
    """A share from 0 to 1 in percent, rounded down: ``"100%"`` means all of it."""
    return f"{math.floor(100 * share + 1e-9)}%"


class ShortRepr:
    """Gives a dataclass, declared with ``repr=False``, a representation of one line.

    A subclass that is none is represented by its name.
    """

    def __repr__(self) -> str:
        record: Any = self
        fields = ", ".join(
            f"{field.name}={short(getattr(self, field.name))}"
            for field in (dataclasses.fields(record) if dataclasses.is_dataclass(record) else ())
            if field.repr
        )
        return f"{type(self).__name__}({fields})"
