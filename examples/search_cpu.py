"""Journey of a researcher: the best network under a latency limit on this CPU.

Usage: python examples/search_cpu.py [LIMIT_MS] [PACK]

PACK is a shipped pack's name or what `latprof train` saved (`make demo` leaves demo/cpu.pack). The
accuracy here is a stand-in, the logarithm of the multiply-accumulates: put your own evaluation in
its place. The 95 % bound of the prediction keeps the limit, and where this computer is the one
that the pack was measured on, the winner is measured too.
"""

import sys
from collections.abc import Sequence

import numpy as np

import latprof
from latprof.searchers import SearchProblem, get_searcher


def main(limit_ms: float = 5.0, pack_path: str = "proxyless-cpu-ort1") -> None:
    """Search, print the winner, and measure it where that says something."""
    pack = latprof.load_pack(pack_path)
    space = pack.space

    def accuracy(architectures: Sequence[latprof.Architecture]) -> np.ndarray:
        return np.log([space.macs(architecture) for architecture in architectures])

    problem = SearchProblem(pack.predictor, accuracy, limit_ms=limit_ms, upper=0.95)
    best = get_searcher("evolution").run(problem, budget=1000).best
    if best is None:
        raise SystemExit(f"no network found keeps {limit_ms:g} ms")
    print(f"{best.architecture}")
    print(f"predicted {best.latency_ms:.3f} ms, 95 % stay below {best.bound_ms:.3f} ms")
    try:
        measured = latprof.verify(pack, best.architecture, limit_ms=limit_ms)
    except latprof.LatprofError as error:
        print(f"not measured here: {error}")
    else:
        print(f"measured  {measured.measured_ms:.3f} ms, {measured.gap:+.1%} of the prediction")


if __name__ == "__main__":
    main(float(sys.argv[1]) if sys.argv[1:] else 5.0, *sys.argv[2:3])
