"""Build every network of the zoo, run it in ONNX Runtime, and compare its counts with the source's.

``python -m benchmarks.zoo [NAME ...]`` prints one line a network: parameters, MACs, what the source
has and which it is, and the median of three runs on this computer with one thread, which is no
label: nothing is paired. ``--public`` builds the networks of the libraries that are installed
(timm, torchvision, pytorchcv, effdet, transformers) and counts them anew with PyTorch's counter of
floating-point operations. Exits with status 1 where a count differs or a network does not run.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from typing import Any

import numpy as np
import onnxruntime as ort

from latprof.datasets import zoo

#: Configurations of the library ``transformers``; what is not said is its default.
TEXTS: dict[str, dict[str, Any]] = {
    "bert-tiny": {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2},
    "bert-mini": {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4},
    "bert-small": {"hidden_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8},
    "bert-base": {},
    "distilbert": {},
    "distilgpt2": {"n_layer": 6},
    "llama-15m": {
        "hidden_size": 288,
        "intermediate_size": 768,
        "num_hidden_layers": 6,
        "num_attention_heads": 6,
        "tie_word_embeddings": True,
    },
    "smollm-135m": {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "vocab_size": 49152,
        "tie_word_embeddings": True,
    },
}


def run_ms(network: zoo.ZooNetwork) -> float:
    """Median of three runs; raises where an output is of another shape or not finite."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    model = zoo.onnx_bytes(network.name)
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    del model
    random = np.random.default_rng(0)
    feed = {
        each.name: random.integers(0, 2, each.shape)
        if "int" in each.type
        else random.standard_normal(each.shape, np.float32)
        for each in session.get_inputs()
    }
    times = []
    for _ in range(3):
        start = time.perf_counter()
        outputs = session.run(None, feed)
        times.append(time.perf_counter() - start)
    for value, declared in zip(outputs, session.get_outputs(), strict=True):
        if list(value.shape) != declared.shape or not np.isfinite(value).all():
            raise RuntimeError(f"{network.name}: output {declared.name} is wrong")
    return statistics.median(times) * 1e3


def public_counts(network: zoo.ZooNetwork) -> tuple[int, int] | None:
    """Parameters and MACs of the source's own network; None where it is no library's."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    library, _, name = network.source.partition(" ")
    makers = {"timm": _timm, "torchvision": _torchvision, "pytorchcv": _pytorchcv}
    makers |= {"effdet": _effdet, "transformers": _transformers}
    if library not in makers:
        return None
    model = makers[library](network, name).eval()
    if network.tokens:
        given = torch.zeros(1, network.resolution, dtype=torch.long)
    else:
        given = torch.zeros(1, 3, network.resolution, network.resolution)
    # Attention in one piece is counted on some devices only, its matrix products everywhere.
    math, counter = sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False)
    with torch.no_grad(), math, counter:
        if name.startswith("ssdlite"):  # what follows the heads does no work that is counted
            model.head(list(model.backbone(given).values()))
        else:
            model(given)
    return sum(p.numel() for p in model.parameters()), counter.get_total_flops() // 2


def _timm(network: zoo.ZooNetwork, name: str) -> Any:
    import timm

    size = {"img_size": network.resolution} if network.family in {"vit", "swin"} else {}
    return timm.create_model(name, **size)


def _torchvision(_: zoo.ZooNetwork, name: str) -> Any:
    import torchvision

    name, *extra = name.split()
    models = torchvision.models
    if name.startswith("ssdlite"):
        return getattr(models.detection, name)(weights=None, weights_backbone=None)
    if name.startswith("lraspp"):
        return getattr(models.segmentation, name)(weights=None, weights_backbone=None)
    options: dict[str, Any] = {"aux_logits": False, "init_weights": False} if extra else {}
    return getattr(models, name)(weights=None, **options)


def _pytorchcv(_: zoo.ZooNetwork, name: str) -> Any:
    from pytorchcv.model_provider import get_model

    return get_model(name)


def _effdet(_: zoo.ZooNetwork, name: str) -> Any:
    import effdet

    return effdet.EfficientDet(effdet.get_efficientdet_config(name), pretrained_backbone=False)


def _transformers(network: zoo.ZooNetwork, name: str) -> Any:
    import transformers

    cls = getattr(transformers, name)
    sizes = TEXTS[network.name]
    config = cls.config_class(**sizes, use_cache=False, attn_implementation="eager")
    if "intermediate_size" not in sizes and "hidden_size" in sizes:
        config.intermediate_size = 4 * config.hidden_size
    return cls(config)


def line(network: zoo.ZooNetwork, *, public: bool) -> tuple[str, bool]:
    """What is printed of a network, and whether all is as the zoo says."""
    parameters, macs = zoo.counts(network.name)
    fine = (parameters, macs) == (network.parameters, network.macs)
    if public:
        theirs = public_counts(network)
        if theirs is None:
            return f"{network.name:24} {network.source or '-'}: no library", fine
        fine = fine and theirs == (parameters, macs + network.besides)
        found = f"{theirs[0]:,} and {theirs[1]:,}"
    else:
        found = f"{run_ms(network):9.2f} ms"
    published = " and ".join(filter(None, network.published))
    source = network.source + (f" ({published})" if published else "")
    besides = f" (the source counts {network.besides:,} more)" if network.besides else ""
    counts = f"{parameters:>12,} {macs:>15,}"
    state = network.check if fine else "DIFFERS"
    return f"{network.name:24} {counts} {found}  {state}: {source}{besides}", fine


def main() -> None:
    """Print one line a network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--public", action="store_true")
    chosen = parser.parse_args()
    failed = []
    for name in chosen.names or zoo.names():
        try:
            text, fine = line(zoo.facts(name), public=chosen.public)
        except Exception as error:  # noqa: BLE001 - the others are wanted too
            text, fine = f"{name:24} FAILED: {type(error).__name__}: {error}", False
        print(text, flush=True)
        failed += [] if fine else [name]
    print(f"{len(chosen.names or zoo.names())} networks, {len(failed)} that differ or fail")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
