"""Contract suites and fakes for the tests of latprof and of packages that extend it.

``__init__.pyi`` lists the names; each is loaded when it is first used.
"""

from latprof.common.lazy import lazy_names

__getattr__, __dir__ = lazy_names(__name__)
