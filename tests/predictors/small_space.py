"""A search space that can be measured whole: three decisions, 60 architectures."""

from latprof.datasets.layers import Place, mobile_inverted_block
from latprof.datasets.space import SearchSpace


class SmallSpace(SearchSpace):
    """Three mobile inverted blocks with 3, 4 and 5 candidates."""

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
