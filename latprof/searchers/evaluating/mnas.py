"""MnasNet's search (Tan et al., CVPR 2019): an RNN controller that learns by PPO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from latprof.common.extras import require
from latprof.common.limits import NOT_NEGATIVE, whole
from latprof.searchers.base import EvaluatingSearcher, Proposals, SearchProblem
from latprof.searchers.rewards import HARD, mnas_reward

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latprof.datasets.spaces.base import Choices
    from latprof.searchers.evaluating.controller import Controller

#: Times that a batch is drawn until it has enough new architectures that keep the limit.
_DRAWS = 8


@dataclass(eq=False, repr=False)
class MnasSearch(EvaluatingSearcher):
    """Samples architectures from an LSTM and moves it towards large ``ACC * (LAT / T) ** w``.

    T is the problem's limit; under the hard reward, where nothing above it can win, draws above it
    are made again without asking for an accuracy, and so are draws that were evaluated. One
    decision is drawn after the other, each from a softmax over its candidates given those before:
    over :class:`~latprof.datasets.spaces.mnasnet.MnasNetSpace` the factorised hierarchical search
    of the paper, over any other space its decisions. Updates are by proximal policy optimisation
    (Schulman et al. 2017) with a moving baseline. Needs torch.

    Parameters
    ----------
    exponents : (float, float)
        ``w`` up to the limit and above it: :data:`~latprof.searchers.rewards.HARD`, which knows no
        merit in being faster than asked, or :data:`~latprof.searchers.rewards.SOFT`. Without a
        limit the reward is the accuracy.
    batch : int
        Architectures evaluated between two updates.
    learning_rate : float
    entropy : float
        Weight of the entropy bonus, which keeps the controller curious.
    hidden : int
        Width of the LSTM.

    Raises
    ------
    InvalidValueError
        For options out of their range.
    MissingDependencyError
        Where torch is not installed.
    """

    name = "mnas"
    limits: ClassVar = {
        **dict.fromkeys(("batch", "hidden"), whole(1, 100_000)),
        **dict.fromkeys(("learning_rate", "entropy"), NOT_NEGATIVE),
    }
    exponents: tuple[float, float] = HARD
    batch: int = 10
    learning_rate: float = 0.03
    entropy: float = 0.05
    hidden: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        require("torch", "MnasNet's controller")

    def propose(self, problem: SearchProblem, generator: np.random.Generator) -> Proposals:
        from latprof.searchers.evaluating.controller import Controller

        controller = Controller(
            problem.space,
            hidden=self.hidden,
            learning_rate=self.learning_rate,
            entropy=self.entropy,
            seed=int(generator.integers(2**31)),
        )
        seen: set[bytes] = set()
        while True:
            drawn = self._drawn(problem, controller, seen)
            scores = yield drawn
            seen |= {row.tobytes() for row in drawn}
            controller.learn(drawn, self.rewards(problem, scores.accuracy, scores.bound_ms))

    def _drawn(self, problem: SearchProblem, controller: Controller, seen: set[bytes]) -> Choices:
        """A batch of what can win and was not evaluated yet, as far as a few draws find it."""
        new: dict[bytes, Choices] = {}
        for _ in range(_DRAWS):
            drawn = controller.sample(4 * self.batch)
            kept = drawn[problem.keeps_limit(drawn)] if self.exponents == HARD else drawn
            for row in kept:
                if row.tobytes() not in seen:
                    new.setdefault(row.tobytes(), row)
            if len(new) >= self.batch:
                break
        # What is known, or above the limit, teaches too.
        return np.array([*new.values(), *([] if new else drawn)][: self.batch])

    def rewards(
        self, problem: SearchProblem, accuracy: NDArray[np.float64], bound_ms: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """The rewards of n networks, shape (n,); of those not allowed the least, at most 0."""
        if np.isinf(problem.limit_ms):
            return accuracy
        allowed = np.isfinite(bound_ms)
        kept = mnas_reward(accuracy[allowed], bound_ms[allowed], problem.limit_ms, self.exponents)
        rewards = np.full(len(accuracy), min(0.0, float(kept.min(initial=0.0))))
        rewards[allowed] = kept
        return rewards
