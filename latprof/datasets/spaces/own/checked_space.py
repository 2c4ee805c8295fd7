"""What a search space of a user's own says of itself first, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latprof.common.own_code.calling import called, checked_answer, in_use
from latprof.common.own_code.space_answers import ANSWERS, FIRST
from latprof.errors import InvalidValueError, shown

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import SearchSpace


def checked_space(space: SearchSpace) -> SearchSpace:
    """Return a space; raises OwnCodeError for what it says of itself that cannot be.

    Spaces of latprof are not looked at.
    """
    cls = type(space)
    if str(cls.__module__).partition(".")[0] == "latprof":
        return space
    with called(f"{cls.__qualname__}.name"):
        name: object = space.name
    if not isinstance(name, str) or not name.isprintable() or not name.strip():
        raise InvalidValueError(
            f"{cls.__name__} has no name",
            field="space",
            expected="an attribute `name`, text of its own",
            got=shown(name),
        )
    for member in FIRST:
        what = f"{cls.__qualname__}.{member}"
        with called(what):
            check, answer = ANSWERS[member], getattr(space, member)
            expected = check(answer, ()) if check is not None else ""
        checked_answer(what, answer, expected)
    in_use.add(cls.__qualname__)
    return space
