"""Becomes a program: ``python -m latprof.common.children.become PROGRAM [ARGUMENT...]``.

Run by :class:`latprof.common.children.child.Child`, so that a program of the user's has pipes,
deadlines and a keeper as a module of ours has.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Replace this process by the program; 127 where it cannot be run."""
    program = sys.argv[1]
    try:
        os.execvp(program, sys.argv[1:])  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.stderr.write(f"{program}: {error.strerror}\n")
        sys.exit(127)


if __name__ == "__main__":
    main()
