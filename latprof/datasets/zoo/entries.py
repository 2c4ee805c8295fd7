"""What the zoo says of a network: how it is built, what it costs, and who says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

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

    @property
    def check(self) -> Literal["equal", "within rounding", "not checked"]:
        """How the counts compare with the source's."""
        if not self.source:
            return "not checked"
        return "within rounding" if any(self.published) else "equal"
