"""Many hosts and devices on dask.distributed: a scheduler, workers with devices, one store.

``__init__.pyi`` lists the names; each is loaded when it is first used.
"""

from latprof.common.lazy import lazy_names

__getattr__, __dir__ = lazy_names(__name__)
