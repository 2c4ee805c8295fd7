"""Write the packs of this folder, or the answers that packs must give for ever.

The packs are fixtures: they are never written again, since they show that a later version still
reads what an earlier one wrote. ``latprof-*.pack`` are the packs that came with latprof before
format 2. The others, and all answers, are what this script wrote when its format was the newest::

    python make_packs.py packs FOLDER       # with the latprof that Python finds first
    python make_packs.py answers FOLDER     # for the packs of FOLDER that have none yet

Format 1 was written by the last version that had it, from a checkout of its own, and its answers
are that version's, not a later one's. The script refuses to overwrite a file.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import latprof
from latprof.datasets.spaces.named import get_space, space_names
from latprof.measurement.records import Target
from latprof.predictors.models.by_name import make_predictor
from latprof.predictors.pack.manifest import FORMAT_VERSION
from latprof.predictors.pack.saving import load_pack, save_pack
from latprof.predictors.training.split_training import train

TARGET = Target("cpu", "Example CPU", "onnxruntime", "1.2.3", input_shape=(1, 3, 224, 224))
QUESTIONS = 20


def costs_ms(space, choices):
    """Latencies that follow from the operators' shapes, but not linearly."""
    operators = [space.operators(a) for a in space.architectures(choices)]
    return np.array([6.0 + sum((o.macs / 30e6) ** 0.9 + 0.01 for o in row) for row in operators])


def proxyless_rows(n, seed, step_ms=0.0):
    """Architectures and latencies; ``step_ms`` is what two blocks cost each other."""
    space = get_space("proxyless")
    choices = space.sample_choices(n, seed)
    latency = costs_ms(space, choices) + step_ms * ((choices[:, 0] < 3) & (choices[:, 5] > 2))
    return space, choices, latency * np.random.default_rng(seed).normal(1, 0.008, n)


def trained(name, rows, **arguments):
    """A pack with everything that a manifest can hold."""
    return train(
        *rows,
        predictor=name,
        target=TARGET,
        reference="proxyless-mobile",
        reference_ms=14.25,
        test_fraction=0.1,
        compare=False,
        **arguments,
    )


def whole_grid():
    """A hybrid with one table over all decisions, its entries rounded so that they pack well."""
    space = get_space("nasbench201")
    choices = space.sample_choices(1500, 4)
    latency = 5.0 + np.isin(choices, (2, 3)).sum(axis=1) * 1.0
    latency += 2.0 * (choices[:, 0] == 3) * (choices[:, 3] == 3) * (choices[:, 5] > 1)
    predictor: Any = make_predictor("hybrid", space).fit(
        choices, latency * np.random.default_rng(4).normal(1, 0.008, 1500)
    )
    (factor,) = predictor.interactions_
    factor.table_ms[:] = np.round(factor.table_ms, 2)
    return predictor


def several_decisions():
    """A hybrid on a space whose parts depend on up to four decisions each."""
    space = get_space("ofa-mobilenetv3", resolutions=[160, 224])
    choices = space.sample_choices(300, 5)
    latency = costs_ms(space, choices) * np.random.default_rng(5).normal(1, 0.008, 300)
    return make_predictor("hybrid", space).fit(choices, latency)


def transferred():
    """A predictor of a second device, from ten of its latencies and two of a first."""
    from latprof.predictors.models.transfer_predictor import TransferPredictor, choose_for_transfer

    space, choices, latency = proxyless_rows(300, 6, 12.0)
    sources = [
        make_predictor("hybrid", space).fit(choices, latency),
        make_predictor("linear", space).fit(choices, latency**0.9),
    ]
    chosen = choose_for_transfer(space, sources, 10)
    device = costs_ms(space, chosen) * 0.4 * np.random.default_rng(7).normal(1, 0.008, 10)
    return TransferPredictor(space, sources).fit(chosen, device)


def write_packs(folder):
    """One pack of each kind that this version knows.

    Those of format 2 but ``transfer`` are older than the least latency in a calibration.
    """
    makers = {
        "lookup-table": lambda path: save_pack(
            trained("lookup-table", proxyless_rows(120, 0)), path
        ),
        "linear": lambda path: save_pack(trained("linear", proxyless_rows(250, 1)), path),
        "xgboost": lambda path: save_pack(trained("xgboost", proxyless_rows(80, 2)), path),
        "hybrid-additive": lambda path: save_pack(trained("hybrid", proxyless_rows(150, 3)), path),
        "hybrid-trees": lambda path: save_pack(
            trained("hybrid", proxyless_rows(300, 6, 12.0)), path
        ),
    }
    if FORMAT_VERSION > 1:
        makers["hybrid-whole-grid"] = lambda path: save_pack(whole_grid(), path, target=TARGET)
        makers["transfer"] = lambda path: save_pack(transferred(), path, target=TARGET)
        makers["hybrid-several-decisions"] = lambda path: save_pack(
            several_decisions(), path, target=TARGET
        )
    for kind, make in makers.items():
        path = folder / f"format{FORMAT_VERSION}-{kind}.pack"
        refuse_to_overwrite(path)
        make(path)
        print(path.name, path.stat().st_size)


def write_answers(folder):
    """What the packs of this version's format answer, for those that have no answers."""
    for path in sorted(folder.glob("*.pack")):
        target = path.with_suffix(".json")
        if target.exists():
            continue
        answers = answers_of(load_pack(path))
        refuse_to_overwrite(target)
        target.write_text(json.dumps(answers, indent=1) + "\n")
        print(target.name)


def answers_of(pack):
    """Architectures, and all that the pack says of them."""
    choices = questions(pack)
    prediction = pack.predict(choices)
    predictor = pack.predictor
    distance = getattr(prediction, "distance", None)
    return {
        "answered_by": latprof.__version__,
        "format_version": FORMAT_VERSION,
        "predictor": predictor.name,
        "trees": len(getattr(predictor, "trees_", ())),
        "interactions": len(getattr(predictor, "interactions_", ())),
        "space": pack.space.description,
        "target": None if pack.target is None else pack.target.to_dict(),
        "training_rows": pack.training_rows,
        "coverage": prediction.coverage,
        "architectures": [str(a) for a in pack.space.architectures(choices)],
        "latency_ms": prediction.latency_ms.tolist(),
        "low_ms": prediction.low_ms.tolist(),
        "high_ms": prediction.high_ms.tolist(),
        "distance": None if distance is None else distance.tolist(),
    }


def questions(pack):
    """Architectures whose every candidate the pack knows."""
    choices = pack.space.sample_choices(2000, 2024)
    table = getattr(pack.predictor, "table_", None)
    if pack.predictor.name == "lookup-table" and np.isnan(table).any():
        known = ~np.isnan(table[np.arange(choices.shape[1]), choices]).any(axis=1)
        choices = choices[known]
    return choices[:QUESTIONS]


def refuse_to_overwrite(path):
    if path.exists():
        sys.exit(f"{path} is there already; a pack that was written stays as it is")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["packs", "answers"])
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    print(f"latprof {latprof.__version__}, format {FORMAT_VERSION}, spaces {space_names()}")
    (write_packs if arguments.what == "packs" else write_answers)(arguments.folder)


if __name__ == "__main__":
    main()
