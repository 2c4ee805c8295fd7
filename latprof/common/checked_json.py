"""Plain data out of files that nobody vouches for: bounded JSON, and fields of checked types.

Everything here ends in a value of the stated type or in PackError, or for :class:`Fields` in the
error that their maker names.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.errors import InvalidValueError, LatprofError, PackError, UsageError, shown

Floats: TypeAlias = NDArray[np.float64]

#: One JSON text, at most: empty lists in it take twenty times their length when they are read.
MOST_JSON_BYTES = 32 << 20


def to_json(values: Mapping[str, Any]) -> bytes:
    """Encode values as JSON with sorted keys; NaN and infinities become null.

    Raises InvalidValueError for what would be too large to read.
    """
    text = json.dumps(_plain(values), sort_keys=True, indent=1, allow_nan=False).encode()
    if len(text) > MOST_JSON_BYTES:
        raise InvalidValueError(
            "too much for one file of a pack",
            expected=f"at most {MOST_JSON_BYTES >> 20} MiB of JSON",
            got=f"{len(text) >> 20} MiB",
        )
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def is_unicode(text: str) -> bool:
    """Whether a text can be written anywhere: JSON's escapes may spell half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Turn whatever malformed content sets off inside the block into PackError."""
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        raise PackError(f"{what} is malformed: {error}") from None
    except UsageError as error:  # a value that a constructor refused
        raise PackError(f"{what} is malformed: {error.problem}", got=error.got) from None
    except (RecursionError, MemoryError):
        raise PackError(f"{what} is malformed: nested too deep or too large") from None


@dataclass(frozen=True)
class Fields:
    """A JSON object read field by field; ``what`` names it in errors of the class ``error``."""

    what: str
    values: Mapping[str, Any]
    error: type[LatprofError] = PackError

    @classmethod
    def of_json(cls, what: str, data: bytes) -> Fields:
        """Parse one JSON object; raises PackError for anything else, NaN included."""
        if len(data) > MOST_JSON_BYTES:
            raise PackError(f"{what} is too large", expected=f"{MOST_JSON_BYTES >> 20} MiB at most")
        with refusing(what):
            values = json.loads(data.decode("utf-8"), parse_constant=_no_constant)
        if not isinstance(values, dict):
            raise PackError(f"{what} is malformed", expected="an object", got=type(values).__name__)
        return cls(what, values)

    @classmethod
    def of_file(cls, files: Mapping[str, bytes], name: str) -> Fields:
        """Parse the file ``name`` among ``files``; raises PackError when it is not there."""
        if name not in files:
            raise PackError(f"the pack has no file {name}")
        return cls.of_json(name, files[name])

    def wrong(self, name: str, expected: str) -> NoReturn:
        """Raise ``error`` for the field ``name``."""
        got = shown(self.values[name], 60) if name in self.values else "nothing"
        raise self.error(f"{self.what}: field {name} is wrong", expected=expected, got=got)

    def text(self, name: str, limit: int = 100_000) -> str:
        """A string of at most ``limit`` characters, none of them half a surrogate pair."""
        value = self.values.get(name)
        if not isinstance(value, str) or len(value) > limit or not is_unicode(value):
            self.wrong(name, "a string")
        return value

    def integer(self, name: str, low: int = 0, high: int = 2**53) -> int:
        """A whole number within limits."""
        value = self.values.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.wrong(name, f"a whole number from {low} to {high}")
        return value

    def number(self, name: str, low: float = -1e300, high: float = 1e300) -> float:
        """A finite number within limits."""
        value = self.values.get(name)
        if (
            not isinstance(value, int | float)
            or isinstance(value, bool)
            or not low <= value <= high
        ):
            self.wrong(name, f"a number from {low:g} to {high:g}")
        return float(value)

    def optional_number(self, name: str, low: float) -> float | None:
        """A finite number of at least ``low``, or None for null."""
        if name in self.values and self.values[name] is None:
            return None
        return self.number(name, low)

    def fields(self, name: str) -> Fields:
        """An object."""
        value = self.values.get(name)
        if not isinstance(value, dict):
            self.wrong(name, "an object")
        return Fields(f"{self.what}: {name}", value, self.error)

    def optional_fields(self, name: str) -> Fields | None:
        """An object, or None for null."""
        if name in self.values and self.values[name] is None:
            return None
        return self.fields(name)

    def objects(self, name: str, limit: int = 10_000) -> list[Fields]:
        """A list of at most ``limit`` objects."""
        value = self.values.get(name)
        if not isinstance(value, list) or len(value) > limit:
            self.wrong(name, f"a list of at most {limit} objects")
        if not all(isinstance(item, dict) for item in value):
            self.wrong(name, "objects")
        return [
            Fields(f"{self.what}: {name} {i}", item, self.error) for i, item in enumerate(value)
        ]

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        value = self.values.get(name)
        if not isinstance(value, list) or not all(
            isinstance(item, str) and is_unicode(item) for item in value
        ):
            self.wrong(name, "a list of strings")
        return tuple(value)

    def array(self, name: str, shape: tuple[int | None, ...], *, nullable: bool = False) -> Floats:
        """Finite numbers of ``shape`` (None: any length); with ``nullable``, null becomes NaN."""
        value = self.values.get(name)
        if not isinstance(value, list):
            self.wrong(name, "a list of numbers")
        _check_numbers(self, name, value, len(shape), nullable=nullable)
        with refusing(f"{self.what}: field {name}"):
            array = np.array(value, dtype=np.float64)
        if not len(value):
            array = array.reshape((0, *(size or 0 for size in shape[1:])))
        if array.ndim != len(shape) or any(
            want is not None and want != got for want, got in zip(shape, array.shape, strict=True)
        ):
            self.wrong(name, f"numbers of shape {shape}")
        finite = ~np.isinf(array) if nullable else np.isfinite(array)
        if not finite.all():
            self.wrong(name, "finite numbers")
        return array

    def integers(self, name: str, length: int | None, low: int, high: int) -> NDArray[np.int64]:
        """Whole numbers within limits, shape (length,)."""
        array = self.array(name, (length,))
        if np.any((array != np.round(array)) | (array < low) | (array > high)):
            self.wrong(name, f"whole numbers from {low} to {high}")
        return array.astype(np.int64)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _check_numbers(
    fields: Fields, name: str, values: list[Any], depth: int, *, nullable: bool
) -> None:
    """Refuse what NumPy would turn into numbers in silence: strings, truth values, nulls."""
    if depth > 1:
        for value in values:
            if not isinstance(value, list):
                fields.wrong(name, "lists of numbers")
            _check_numbers(fields, name, value, depth - 1, nullable=nullable)
        return
    allowed = {int, float, type(None)} if nullable else {int, float}
    if not {type(value) for value in values} <= allowed:
        fields.wrong(name, "numbers")
