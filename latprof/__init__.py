"""How many milliseconds a neural network takes on a device, before anyone runs it there.

Profilers measure, predictors learn from what was measured, searchers use what was learned.
``__init__.pyi`` lists the names; each is loaded when it is first used: ``import latprof`` itself is
light.
"""

import sys as _sys

# `python -m latprof`, and no other program that uses latprof: what lies beside a downloaded model
# must not stand for modules of Python's own. All that follows is found elsewhere, or in __path__.
if _sys.argv[:1] == ["-m"] and not _sys.flags.safe_path:  # noqa: SIM102 - see above
    if _sys.orig_argv[_sys.orig_argv.index("-m") + 1].partition(".")[0] == __name__:
        del _sys.path[0]

from latprof._version import __version__ as __version__


def __getattr__(name: str) -> object:
    from latprof.common.lazy import lazy_names

    globals()["__getattr__"], globals()["__dir__"] = lazy_names(__name__)
    return getattr(_sys.modules[__name__], name)


def __dir__() -> list[str]:
    from latprof.common.lazy import lazy_names

    return lazy_names(__name__)[1]()
