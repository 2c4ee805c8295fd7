"""How many milliseconds a neural network takes on a device, before anyone runs it there.

Profilers measure, predictors learn from what was measured, searchers use what was learned.
``__init__.pyi`` lists the names; each is loaded when it is first used: ``import latprof`` itself is
light.
"""

from latprof._version import __version__ as __version__
from latprof.common.lazy import lazy_names

__getattr__, __dir__ = lazy_names(__name__)
