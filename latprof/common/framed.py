"""Results as pandas DataFrames, and drawn on matplotlib's axes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from latprof.common.extras import require

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


class Framed:
    """A result of rows: ``to_frame`` and ``plot``.

    A subclass has :meth:`frame_rows`, and says which of their columns are drawn.
    """

    #: Columns of the name, the value and the ends of its interval; and what the axis says.
    drawn: ClassVar[tuple[str, str, str, str]] = ("name", "latency_ms", "low_ms", "high_ms")
    axis_label: ClassVar[str] = "latency, ms"

    def frame_rows(self) -> Iterable[Mapping[str, Any]]:
        """The rows, each with the same columns."""
        raise NotImplementedError

    def to_frame(self) -> pd.DataFrame:
        """The rows as a DataFrame, with units in the names of the columns.

        Raises MissingDependencyError without pandas.
        """
        require("collect", "a DataFrame", "pandas")
        import pandas as pd

        return pd.DataFrame([dict(row) for row in self.frame_rows()])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the rows with their intervals on these axes, or on new ones; return the axes.

        Raises MissingDependencyError without matplotlib.
        """
        from latprof.common.axes import draw_intervals

        rows = [*self.frame_rows()]
        name, value, low, high = self.drawn
        nan = float("nan")
        return draw_intervals(
            ax,
            [str(row[name]) for row in rows],
            [float(row[value]) for row in rows],
            [(float(row.get(low, nan)), float(row.get(high, nan))) for row in rows],
            self.axis_label,
        )
