"""Journey of a researcher: an Optuna study over a space of your own.

Accuracy and latency are its two objectives, and the latency limit is a constraint: not of the
prediction, but of the bound that 95 of 100 measurements stay below. Needs Optuna 5.

Usage: python examples/optuna_study.py PACK MODULE:SPACE MODULE:ACCURACY LIMIT_MS [TRIALS]
"""

import importlib
import sys

import optuna

import latprof


def main(path: str, named: str, accuracy: str, limit_ms: float, trials: int) -> None:
    """Print the networks that keep the limit and that no other one beats in both objectives."""
    space = latprof.get_space(named)
    predictor = latprof.load_pack(path, space).predictor
    module, _, function = accuracy.partition(":")
    accuracy_of = getattr(importlib.import_module(module), function)

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        chosen = [
            names.index(trial.suggest_categorical(f"decision {number}", names))
            for number, names in enumerate(space.candidates)
        ]
        architecture = latprof.Architecture(space.name, tuple(chosen))
        bound_ms = float(predictor.predict([architecture], upper=0.95)[0])
        trial.set_user_attr("architecture", str(architecture))
        trial.set_constraint("latency limit", bound_ms - limit_ms)  # above 0: it is not kept
        latency_ms = float(predictor.predict([architecture])[0])
        return float(accuracy_of([architecture])[0]), latency_ms

    sampler = optuna.samplers.TPESampler(seed=0)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    study.optimize(objective, n_trials=trials)
    kept = [each for each in study.best_trials if max(each.constraints.values()) <= 0]
    found = {trial.user_attrs["architecture"]: trial.values for trial in kept}  # each once
    if not found:
        sys.exit(f"no network found keeps {limit_ms:g} ms")
    for architecture, (reached, latency_ms) in sorted(found.items(), key=lambda each: each[1][1]):
        print(f"{architecture}  {reached:g}  {latency_ms:.3f} ms")


if __name__ == "__main__":
    if len(sys.argv) not in (5, 6):
        sys.exit(__doc__)
    sys.path.append(".")  # where the two modules are
    pack, space, accuracy, limit, *rest = sys.argv[1:]
    main(pack, space, accuracy, float(limit), int(rest[0]) if rest else 200)
