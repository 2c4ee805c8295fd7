"""Whose measurements a pack rests on, where they are not the user's own."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from latprof.common.checked_json import Fields

#: The device of targets whose measurements somebody else published.
PUBLISHED = "published"
#: What stands for a runtime and its version that nobody stated.
NOT_STATED = "unknown"


@dataclass(frozen=True)
class Origin:
    """The published measurements behind a pack.

    Parameters
    ----------
    column : str
        Collection, space and device, for example ``"help/fbnet/pixel2"``.
    citation, licence : str
        Of the measurements.
    conditions : str
        What is known of how they were made, in words.
    traps : tuple of str
        What the numbers show: ``"integer-rounded"``, ``"heavy-tailed"``
        (:func:`latprof.datasets.importers.flags.detect_flags`).
    sha256 : str
        Of the file of latencies.
    """

    column: str
    citation: str
    licence: str
    conditions: str = ""
    traps: tuple[str, ...] = ()
    sha256: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def of_fields(cls, fields: Fields) -> Self:
        """Rebuild from the manifest's fields; raises PackError for others."""
        names = ("column", "citation", "licence", "conditions", "sha256")
        return cls(**{name: fields.text(name) for name in names}, traps=fields.texts("traps"))

    def describe(self) -> str:
        """One line for people."""
        traps = f"; {', '.join(self.traps)}" if self.traps else ""
        conditions = f"; {self.conditions}" if self.conditions else ""
        return f"{self.column} ({self.citation}; {self.licence}{conditions}{traps})"
