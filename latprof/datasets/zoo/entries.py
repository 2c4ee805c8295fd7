"""What the zoo says of a network: how it is built, what it costs, and who says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from latprof.datasets.zoo.network_builder import NetworkBuilder


@dataclass(frozen=True)
class ZooNetwork:
    """A network of the zoo, as published.

    Parameters
    ----------
    name : str
    family : str
        What is left out together where a predictor is tested on networks unlike its training's.
    write : callable
        Writes the network's layers into a :class:`NetworkBuilder`.
    resolution : int
        Height and width of the image, or tokens of the text, that the counts are for.
    parameters, macs : int
        Learnt values, and multiply-accumulates of one image or text.
    source : str
        Whose counts these are: a library and its name for the network, or a paper.
    published : tuple of str
        Where only rounded figures are published: parameters and multiply-accumulates, such as
        ``("5.1M", "555M")``; either may be empty.
    step : int
        Resolutions are multiples of it.
    tokens : bool
        Whether the input is a text, and not an image.
    besides : int
        What the source counts that is no multiply-accumulate of a run: normalisations and pools, or
        work on nothing but learnt values, which runtimes do once.
    note : str
        How the source counts, or why nothing was checked.
    """

    name: str
    family: str
    write: Callable[[NetworkBuilder], None]
    resolution: int
    parameters: int
    macs: int
    source: str = ""
    published: tuple[str, str] = ("", "")
    step: int = 1
    tokens: bool = False
    besides: int = 0
    note: str = ""

    @property
    def check(self) -> Literal["equal", "within rounding", "not checked"]:
        """How the counts compare with the source's."""
        if not self.source:
            return "not checked"
        return "within rounding" if any(self.published) else "equal"

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as plain JSON values."""
        parameters, macs = self.published
        return {
            "name": self.name,
            "family": self.family,
            "input": "tokens" if self.tokens else "image",
            "resolution": self.resolution,
            "parameters": self.parameters,
            "macs": self.macs,
            "check": self.check,
            "source": self.source or None,
            "published_parameters": parameters or None,
            "published_operations": macs or None,
            "counted_besides_macs": self.besides,
            "note": self.note or None,
        }
