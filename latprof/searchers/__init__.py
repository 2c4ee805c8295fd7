"""How an architecture is chosen: thin algorithms that consume predictors."""

from latprof.searchers.random_search import Found, random_search
from latprof.searchers.rewards import HARD, SOFT, mnas_reward

__all__ = ["HARD", "SOFT", "Found", "mnas_reward", "random_search"]
