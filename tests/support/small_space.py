"""Search spaces that can be measured whole."""

from latprof.datasets.models.layers import Place, mobile_inverted_block
from latprof.datasets.spaces.base import Part, SearchSpace


class SmallSpace(SearchSpace):
    """Three mobile inverted blocks with 3, 4 and 5 candidates: 60 architectures."""

    name = "small"
    _SIZES = (3, 4, 5)

    @property
    def options(self):
        return {}

    @property
    def candidates(self):
        return tuple(tuple(f"e{e + 1}" for e in range(size)) for size in self._SIZES)

    @property
    def input_shape(self):
        return (16, 28, 28)

    def blocks(self, architecture):
        return tuple(
            mobile_inverted_block(
                Place(f"block{position}", position, 16, 16, 28),
                self.candidates[position][choice],
                kernel=3,
                expansion=choice + 1,
            )
            for position, choice in enumerate(architecture.choices)
        )

    def head(self, architecture, batch_size=1):
        return ()


class PairedSpace(SearchSpace):
    """Two blocks whose width the first decision sets and which have a kernel each: 4 x 2 x 3.

    The parts name their decisions in another order than that of the space. A fourth decision has
    one candidate only.
    """

    name = "paired"
    _WIDTHS, _KERNELS, _EXPANSIONS = (8, 16, 24, 40), (3, 5), (1, 3, 6)

    @property
    def options(self):
        return {}

    @property
    def candidates(self):
        return (
            tuple(f"w{width}" for width in self._WIDTHS),
            tuple(f"k{kernel}" for kernel in self._KERNELS),
            tuple(f"e{expansion}" for expansion in self._EXPANSIONS),
            ("only",),
        )

    @property
    def input_shape(self):
        return (16, 28, 28)

    @property
    def parts(self):
        return (Part("first", (1, 0)), Part("second", (3, 2, 0)))

    def blocks(self, architecture):
        width, kernel, expansion, _ = architecture.choices
        width = self._WIDTHS[width]
        return (
            mobile_inverted_block(
                Place("first", 0, 16, width, 28),
                f"k{self._KERNELS[kernel]}",
                kernel=self._KERNELS[kernel],
                expansion=3,
            ),
            mobile_inverted_block(
                Place("second", 1, width, 16, 28),
                f"e{self._EXPANSIONS[expansion]}",
                kernel=3,
                expansion=self._EXPANSIONS[expansion],
            ),
        )

    def head(self, architecture, batch_size=1):
        return ()
