"""Journey of a researcher: one network family, scaled to the latency budgets of a device.

Usage: python examples/scaling.py [PACK]

Scales the stages of EfficientNet-B0 (without squeeze-and-excitation) to several budgets, once by
EfficientNet's compound rule and once as TinyNet does, which learns from the accuracies of a few
networks. The accuracy here is a stand-in that falls off with each size: put your own training in
its place. A bound of the predicted latency keeps each budget; PACK is a shipped pack's name or what
`latprof train` saved.
"""

import sys
from collections.abc import Sequence

import latprof
from latprof.datasets import ScaledMBConv
from latprof.searchers import (
    LatencyOfOperators,
    ScaledNetwork,
    TinyNetScaling,
    scale_to_latency,
)

LIMITS_MS = (1.5, 2.5, 4.0, 5.0)


def accuracy(networks: Sequence[ScaledNetwork]) -> list[float]:
    """A stand-in: diminishing returns of each size, no training."""
    scales = [network.scale for network in networks]
    return [82 - 3.5 * 224 / s.resolution - 2 / s.depth - 1.5 / s.width for s in scales]


def main(pack_name: str = "proxyless-cpu-ort1") -> None:
    """Print what each rule makes of each budget."""
    latency = LatencyOfOperators(latprof.load_pack(pack_name))
    family = ScaledMBConv("tinynet")
    tiny = TinyNetScaling(family, latency).fit(accuracy, n=60, seed=0)
    print("  limit rule      pixels  depth  width  predicted coverage")
    for limit_ms in LIMITS_MS:
        rules = {
            "compound": scale_to_latency(family, limit_ms, latency),
            "tinynet": tiny.scale(limit_ms),
        }
        for rule, found in rules.items():
            predicted = latency.predict(found.space, found.architecture)
            print(
                f"{limit_ms:4.1f} ms {rule:9} {found.scale.resolution:6d} {found.scale.depth:6.2f} "
                f"{found.scale.width:6.2f} {predicted.latency_ms:7.2f} ms {predicted.coverage:5.0%}"
            )


if __name__ == "__main__":
    main(*sys.argv[1:2])
