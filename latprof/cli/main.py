"""Where the ``latprof`` command starts: with little to import, so that a signal ends it cleanly."""

import sys
from typing import Any

from latprof.cli.signals import Ending


def main() -> None:
    """Run the command line (:func:`latprof.cli.app.run`) with the environment of our processes.

    Called by a program's ``__main__`` it answers signals until the process has ended; called by
    anything else it gives back what it found.
    """
    program = sys.modules["__main__"]
    with Ending(is_program=getattr(program, "main", None) is main) as ending:
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
