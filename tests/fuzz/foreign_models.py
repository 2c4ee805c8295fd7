"""ONNX files that others made and ONNX Runtime runs: ``collect`` refuses none.

The files come from installed packages: onnx's own ``pytorch-converted``, ``pytorch-operator`` and
``simple`` models, those that ONNX Runtime saves after optimising some of them, and, where
``transformers`` is installed, its models built from small configurations with random weights.
"""

import contextlib
import io
import warnings
from functools import lru_cache, partial
from pathlib import Path

import onnx
import onnxruntime

from latprof.errors import LatprofError
from latprof.measurement.records import PairedProtocol
from latprof.profilers.base import RunOptions
from latprof.profilers.runtimes.cpu.cpu_onnxruntime import CpuOnnxRuntime
from latprof.profilers.visits.measurer import InProcessMeasurer
from latprof.profilers.visits.network_source import NetworkSource, reference_network
from tests.fuzz.outcomes import BAD

ONNX_DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
PROTOCOL = PairedProtocol(rounds=1, burst_ms=0.5, reference_loads=1)
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 60}
SMALL = SIZES | {"intermediate_size": 64, "max_position_embeddings": 40}
#: Names of configurations of transformers, and of the inputs that they take.
LANGUAGE = {
    "Bert": ("input_ids", "attention_mask", "token_type_ids"),
    "Roberta": ("input_ids", "attention_mask"),
    "DistilBert": ("input_ids", "attention_mask"),
    "Electra": ("input_ids", "attention_mask", "token_type_ids"),
    "MobileBert": ("input_ids", "attention_mask", "token_type_ids"),
    "Albert": ("input_ids", "attention_mask", "token_type_ids"),
}
MORE = {
    "DistilBert": {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2},
    "Albert": {"embedding_size": 16},
    "Electra": {"embedding_size": 16},
    "MobileBert": {"embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16},
}


def of_onnx(folder):
    """Each ``model.onnx`` of one of onnx's own collections."""
    return sorted((ONNX_DATA / folder).glob("*/model.onnx"))


def runs(path):
    """Whether ONNX Runtime loads a file that has inputs: tensors of numbers of fixed shapes."""
    try:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception:
        return False
    inputs = session.get_inputs()
    return bool(inputs) and all(
        value.type.startswith("tensor(")
        and value.type != "tensor(string)"
        and all(isinstance(size, int) for size in value.shape)
        for value in inputs
    )


def optimised(path, level, to):
    """What ONNX Runtime saves of a model after optimising it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(to)
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return to


def exported(name, to):
    """A model of transformers with random weights, exported by torch."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**(SMALL | MORE.get(name, {})))
    made = getattr(transformers, f"{name}Model")
    model = made._from_config(config, attn_implementation="eager").eval()  # noqa: SLF001 - no other
    model.config.return_dict = False
    names = LANGUAGE[name]
    values = tuple(torch.ones((1, 8), dtype=torch.int64) for _ in names)

    class ByName(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, *given):
            return self.model(**dict(zip(names, given, strict=True)))[0]

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(ByName(), values, to, input_names=list(names), dynamo=False)
    return to


@lru_cache(maxsize=1)
def kinds():
    """What there is, in order: each kind's name, and a path or how to make one in a folder."""
    found = []
    for folder in ("pytorch-converted", "pytorch-operator", "simple"):
        found += [(folder, path.parent.name, path) for path in of_onnx(folder) if runs(path)]
    levels = onnxruntime.GraphOptimizationLevel
    for _, name, path in found[::6]:
        for level in (levels.ORT_ENABLE_EXTENDED, levels.ORT_ENABLE_ALL):
            found.append(("saved by ONNX Runtime", name, partial(optimised, path, level)))
    with contextlib.suppress(ImportError):
        import transformers  # noqa: F401

        for name in LANGUAGE:
            found.append(("transformers", name, partial(exported, name)))
    # Every kind early: a short run has some of each.
    by_kind = {}
    for each in found:
        by_kind.setdefault(each[0], []).append(each)
    order = sorted(
        (index / len(members), kind, index)
        for kind, members in by_kind.items()
        for index in range(len(members))
    )
    return [by_kind[kind][index] for _, kind, index in order]


def measure(numbers, _seed, folder):
    """Measure these files; yields each one's kind and what became of it."""
    _, reference = reference_network()
    measurer = None
    for number in numbers:
        if number >= len(kinds()):
            yield "none left", "skipped", ""
            continue
        kind, name, path = kinds()[number]
        try:
            if callable(path):
                path = path(Path(folder) / f"{number}.onnx")
            network = NetworkSource.of_model(path)
            measurer = measurer or InProcessMeasurer(
                CpuOnnxRuntime(RunOptions()), reference, PROTOCOL, reference_runs={"": 2}
            )
            visit = measurer.visit(network)
            if visit.failure is not None:
                raise visit.failure.error()
        except LatprofError as error:
            yield kind, BAD, f"{number}: {name}: {error}"
        except Exception as error:
            yield kind, BAD, f"{number}: {name}: {error!r}"[:300]
        else:
            known = "measured" if not network.costs.unknown else "measured, costs not known"
            yield kind, known, ""
