"""Where a user's own code is called: whatever it raises ends in an error that names it.

The code is a search space, the function that builds its networks, an accuracy function, and what
other packages register.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

from latprof.errors import LatprofError, OwnCodeError, shown, words_of

#: Not the code's own fault: errors of latprof's name theirs, and an interruption is one.
PASSED_ON = (LatprofError, KeyboardInterrupt, GeneratorExit)
#: Most things that an iterator of a user's may give.
_MOST_GIVEN = 1 << 17
#: After which a call that has not returned is spoken of.
LONG_CALL_S = 20.0
#: Folders of packages that somebody installed, by their names.
_INSTALLED = frozenset({"site-packages", "dist-packages"})
#: What values that fit nowhere lead to.
_OF_VALUES = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
#: Names of the classes of users' spaces that commands of this process use.
in_use: set[str] = set()
#: Takes what a function returned and the arguments that it was called with (without ``self``);
#: returns what was expected in its place, and an empty text where it is that.
Check: TypeAlias = Callable[[Any, tuple[Any, ...]], str]


def is_users_module(name: str) -> bool:
    """Whether a module is neither Python's nor an installed package's nor latprof's."""
    root = name.partition(".")[0]
    if root == "latprof" or (root in sys.stdlib_module_names and root != "__main__"):
        return False
    file = getattr(sys.modules.get(name), "__file__", None) or ""
    return not _INSTALLED & set(Path(file).parts)


@contextmanager
def called(what: str) -> Iterator[None]:
    """Call a user's code, which messages call ``what``.

    Raises OwnCodeError for all that it raises but errors of latprof's and interruptions.
    """
    is_first = not _running
    if is_first:
        _running.append((what, time.monotonic()))
    in_command = is_first and len(_commands) > 0
    own = [folder for folder in _folders if folder not in sys.path] if is_first else []
    sys.path += own
    try:
        with redirect_stdout(sys.stderr) if in_command else nullcontext():
            yield
    except PASSED_ON:
        raise
    except BaseException as error:
        raise OwnCodeError(f"{what} {_did(error)} {in_words(error)}") from error
    finally:
        for folder in own:
            if folder in sys.path:
                sys.path.remove(folder)
        if is_first:
            _running.clear()


def search_in(folder: Path) -> None:
    """Find what a user's code imports as it runs in this folder too, behind all others."""
    entry = str(folder)
    _folders[:] = [entry, *(each for each in _folders if each != entry)]


@contextmanager
def called_by_command(say: Callable[[str], None], after_s: float = LONG_CALL_S) -> Iterator[None]:
    """Have a user's code print to stderr, since stdout is for results, and long calls told.

    ``say`` is told once of each call that has not returned after so many seconds. What a user's
    code takes is its own affair, such as training for an hour: nothing ends it.
    """
    done = threading.Event()
    _commands.append(None)

    def look() -> None:
        told: tuple[str, float] | None = None
        while not done.wait(after_s / 4):
            running = next(iter(_running), None)
            if running is None or running == told:
                continue
            what, start = running
            if time.monotonic() - start >= after_s:
                told = running
                say(f"{what} has not returned for {after_s:g} s; Ctrl-C ends the command")

    threading.Thread(target=look, daemon=True).start()
    try:
        yield
    finally:
        _commands.pop()
        done.set()


#: The outermost call that lasts, and when it began.
_running: list[tuple[str, float]] = []
#: One for each command that runs.
_commands: list[None] = []
#: Folders of the modules that were named, the last one first.
_folders: list[str] = []


def _did(error: BaseException) -> str:
    return "ended the program by" if isinstance(error, SystemExit) else "raised"


def in_words(error: BaseException) -> str:
    """The class of an exception, what it says, and the line of a user's code it came from."""
    text = words_of(error)
    frames = [each for each in _frames(error) if _is_others(each[0])]
    users = [each for each in frames if _is_users(_module_of(each[0]))]
    if not frames:
        return text
    frame, line = (users or frames)[-1]
    code = frame.f_code
    return f"{text} (line {line} of {Path(code.co_filename).name}, in {code.co_qualname})"


def error_of_own_code(error: BaseException, registered: Collection[str]) -> OwnCodeError | None:
    """What to say of an exception that latprof did not raise; None where it came of its own code.

    A user's code, or that of a package among ``registered`` (by its root), which latprof called.
    Where none of it raised, but a space of it is in use, it is the values that it gave.
    """
    if isinstance(error, PASSED_ON):
        return None
    frames = [frame for frame, _ in _frames(error)]
    names = list(map(_module_of, frames))
    first = next((n for n, name in enumerate(names) if _is_latprofs(name)), len(names))
    for frame, name in zip(frames[first:], names[first:], strict=True):
        if name.partition(".")[0] in registered or _is_users(name):
            what = f"{frame.f_code.co_qualname} of {name}"
            return OwnCodeError(f"{what} {_did(error)} {in_words(error)}")
    if in_use and isinstance(error, _OF_VALUES):
        frame, line = list(_frames(error))[-1]
        return OwnCodeError(
            f"what {', '.join(sorted(in_use))} says of its networks cannot be: {words_of(error)} "
            f"(line {line} of {Path(frame.f_code.co_filename).name})"
        )
    return None


def guard(cls: type, checks: Mapping[str, Check | None]) -> None:
    """Have the methods and properties of a user's class that ``checks`` names called by this room.

    What they raise becomes an OwnCodeError, and so does an answer that its check refuses. Iterators
    are answered as tuples. Classes of latprof stay as they are.
    """
    if _is_latprofs(cls.__module__):
        return
    for name in checks.keys() & vars(cls).keys():
        member, what = vars(cls)[name], f"{cls.__qualname__}.{name}"
        check = checks[name]
        if isinstance(member, property) and member.fget is not None:
            found: Any = member.getter(_guarded(member.fget, what, check))
        elif isinstance(member, functools.cached_property):
            found = functools.cached_property(_guarded(member.func, what, check))
            found.__set_name__(cls, name)
        elif inspect.isfunction(member) or hasattr(member, "cache_info"):
            found = _guarded(member, what, check)
        else:  # a value, checked where it is used
            continue
        setattr(cls, name, found)


def _guarded(function: Callable[..., Any], what: str, check: Check | None) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        with called(what):
            answer = function(self, *args, **kwargs)
            if isinstance(answer, Iterator):
                answer = tuple(islice(answer, _MOST_GIVEN))
            expected = check(answer, args) if check is not None else ""
        return checked_answer(what, answer, expected)

    return call


def checked_answer(what: str, answer: Any, expected: str) -> Any:
    """Return what a user's code returned; raises OwnCodeError where something is ``expected``."""
    if expected:
        raise OwnCodeError(
            f"{what} returned something else", expected=expected, got=shown(answer, 100)
        )
    return answer


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    """The frames that an exception passed, the outermost first, with their lines."""
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def _module_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _is_users(module: str) -> bool:
    """Whether a frame is of a user's module; what templates and the like make has none."""
    return module in sys.modules and is_users_module(module)


def _is_latprofs(module: str) -> bool:
    return module.partition(".")[0] == "latprof"


def _is_others(frame: FrameType) -> bool:
    """Whether a frame is neither latprof's nor Python's own."""
    name = _module_of(frame)
    root = name.partition(".")[0]
    return not _is_latprofs(name) and (root not in sys.stdlib_module_names or root == "__main__")
