"""How results are shown: one self-contained HTML page, and its figures as pictures.

``__init__.pyi`` lists the names; each is loaded when it is first used.
"""

from latprof.common.lazy import lazy_names

__getattr__, __dir__ = lazy_names(__name__)
