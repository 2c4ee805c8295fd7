"""How an architecture is chosen: thin algorithms that consume predictors.

``__init__.pyi`` lists the names; each is loaded when it is first used: the losses need no
library that a method does.
"""

from latprof.common.lazy import lazy_names

__getattr__, __dir__ = lazy_names(__name__)
