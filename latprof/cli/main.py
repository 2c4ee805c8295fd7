"""Where the ``latprof`` command starts: with little to import, so that a signal ends it cleanly."""

import os
import signal

_USUAL = signal.getsignal(signal.SIGINT)
_LEAVES = False
if _USUAL is signal.default_int_handler:
    # Amid these imports there is nothing to clean up, and a traceback tells nobody anything.
    try:
        signal.signal(signal.SIGINT, lambda number, _: os._exit(128 + number))
        _LEAVES = True
    except ValueError:  # in another thread than the main one, where nothing is interrupted
        pass

import contextlib
import gc
import sys
from collections.abc import Iterator
from typing import Any

from latprof.cli.signals import Ending

if _LEAVES:
    signal.signal(signal.SIGINT, _USUAL)

#: Objects that are made before the garbage collector looks for the first time: a start's modules
#: and a pack's tables, none of which is garbage.
_UNCOLLECTED = 300_000


@contextlib.contextmanager
def _late_collection(*, is_program: bool) -> Iterator[None]:
    """Look for garbage as late as a long command needs it, and not once more at a program's end."""
    usual = gc.get_threshold()

    def collect_as_usual(*_: object) -> None:
        if collect_as_usual in gc.callbacks:
            gc.callbacks.remove(collect_as_usual)
            gc.set_threshold(*usual)

    gc.callbacks.append(collect_as_usual)
    gc.set_threshold(_UNCOLLECTED, *usual[1:])
    try:
        yield
    finally:
        collect_as_usual()
        if is_program:
            gc.freeze()


def main() -> None:
    """Run the command line (:func:`latprof.cli.app.run`) with the environment of our processes.

    Called by a program's ``__main__`` it answers signals until the process has ended; called by
    anything else it gives back what it found.
    """
    program = sys.modules["__main__"]
    is_program = getattr(program, "main", None) is main
    with _late_collection(is_program=is_program), Ending(is_program=is_program) as ending:
        from latprof.common import telemetry

        telemetry.switch_off(whatever_is_set=True)
        from latprof.cli.app import run

        ending.expect_files()
        run()


def __getattr__(name: str) -> Any:
    """``app``, which takes its time to import."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from latprof.cli.app import app

    return app
