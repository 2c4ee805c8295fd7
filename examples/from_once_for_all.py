"""Once-for-All's latency table, ported: LatencyTable(device="note10").predict_efficiency(sample).

Samples are as there: {"r": [...], "d": [5 depths], "ks": [20 kernels], "e": [20 expansions]}.
Usage: python examples/from_once_for_all.py PACK < samples.json (a pack of ofa-mobilenetv3)
"""

import json
import sys

import latprof

pack = latprof.load_pack(sys.argv[1])
for sample in json.load(sys.stdin):
    words = [f"r{sample['r'][0]}"]
    words += [f"{key[0]}{number}" for key in ("d", "ks", "e") for number in sample[key]]
    chosen = [names.index(word) for names, word in zip(pack.space.candidates, words, strict=True)]
    answer = latprof.predict(latprof.Architecture(pack.space.name, tuple(chosen)), pack)
    print(f"{answer.latency_ms:.3f} ms, {answer.low_ms:.3f} to {answer.high_ms:.3f}")
