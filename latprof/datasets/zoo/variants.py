"""Networks of the zoo at other sizes, in one word: ``resnet-18@160x0.5``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from latprof.datasets.zoo.catalogue import counts, facts, graph_digest, onnx_bytes
from latprof.errors import InvalidValueError

_SPELLING = re.compile(r"([^@]+)(?:@(\d{1,4})?(?:x(\d{1,2}(?:\.\d{1,4})?))?)?", re.ASCII)


@dataclass(frozen=True)
class ZooVariant:
    """A network of the zoo at a resolution and a width.

    ``str(variant)`` is its spelling: the name, then ``@RESOLUTION`` and ``xWIDTH`` where they are
    not as published.

    Parameters
    ----------
    name : str
    resolution : int
        Height and width of the image, or tokens of the text.
    width : float
    """

    name: str
    resolution: int
    width: float = 1.0

    @classmethod
    def parse(cls, text: str, resolution: int | None = None) -> ZooVariant:
        """Read a spelling; ``resolution`` is for one that says none.

        Raises UnknownNameError for a name that is none, InvalidValueError for another spelling.
        """
        found = _SPELLING.fullmatch(text)
        if found is None:
            raise InvalidValueError(
                "no network of the zoo is spelled so",
                field="zoo",
                expected="NAME, NAME@RESOLUTION, NAME@xWIDTH or NAME@RESOLUTIONxWIDTH",
                got=text[:80],
            )
        name, size, width = found.groups()
        published = facts(name).resolution
        chosen = int(size) if size else published if resolution is None else resolution
        return cls(name, chosen, float(width) if width else 1.0)

    def __str__(self) -> str:
        size = "" if self.resolution == facts(self.name).resolution else str(self.resolution)
        width = "" if self.width == 1.0 else f"x{self.width:g}"
        return f"{self.name}@{size}{width}" if size or width else self.name

    @property
    def family(self) -> str:
        """The network's family."""
        return facts(self.name).family

    def digest(self) -> str:
        """SHA-256 of the graph; raises InvalidValueError for an impossible size."""
        return graph_digest(self.name, **self._size)

    def onnx_bytes(self, batch_size: int = 1) -> bytes:
        """The serialised model; raises as :meth:`digest`."""
        return onnx_bytes(self.name, batch_size=batch_size, **self._size)

    def counts(self, batch_size: int = 1) -> tuple[int, int]:
        """Parameters and multiply-accumulates of one run; raises as :meth:`digest`."""
        known = facts(self.name)
        if (self.resolution, self.width, batch_size) == (known.resolution, 1.0, 1):
            return known.parameters, known.macs
        return counts(self.name, batch_size=batch_size, **self._size)

    @property
    def _size(self) -> dict[str, Any]:
        return {"resolution": self.resolution, "width": self.width}
