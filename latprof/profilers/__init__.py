"""How networks are measured: runtimes, the schedule of visits, campaigns, what this host is.

``__init__.pyi`` lists the names; each is loaded when it is first used.
"""

from latprof.common.lazy import lazy_names

__getattr__, __dir__ = lazy_names(__name__)
