"""Exported models that nobody chose, predicted and measured: ``python -m benchmarks.exports``.

Networks as people write them (exported_modules.py and exported_systems.py in tests/support) and,
where the packages are there, of timm, torchvision and transformers with random weights, exported by
torch at several opsets, with static and dynamic sizes, single operators
(tests/support/exported_operators.py), and variants of a few as tools make them: float16, int8 in
three spellings (``-u8``: activations unsigned, a scale a channel), saved by ONNX Runtime, channels
last. Each is predicted from the kernel pack that comes with latprof and then run here, by ONNX
Runtime, one thread. Prints a line
for each; what is wrong by over 2 times, covers less than 90 % or lies outside its interval is
marked, and counted at last. A measured time is the lower quartile of CPU time of single runs, so
that a busy host disturbs it little.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import exported_systems  # noqa: F401 - its networks join MODULES
from exported_modules import MODULES
from exported_operators import operators

from latprof import predict
from latprof.errors import LatprofError

#: Opsets that networks are exported at, in turn.
_OPSETS = (11, 13, 17, 18)
_LEAST_OPSET = {"grid-warp": 16, "decoder-rotary-gqa": 14, "translator-encoder-decoder": 14}
_TIMM = """
convnext_atto:96 swin_tiny_patch4_window7_224:224 mobilevit_xxs:128 mobilevitv2_050:128
efficientvit_b0:128 efficientvit_m0:224 fastvit_t8:128 poolformer_s12:96 mixer_s32_224:224
maxvit_rmlp_nano_rw_256:256 coatnet_nano_rw_224:224 ghostnet_100:128 ghostnetv2_100:128
regnetx_002:128 regnety_002:128 repvgg_a0:96 mobileone_s0:128 levit_128s:224 tinynet_e:112
mnasnet_050:128 hardcorenas_a:128 xcit_nano_12_p16_224:224 pvt_v2_b0:128 edgenext_xx_small:128
efficientformer_l1:224 efficientformerv2_s0:224 resmlp_12_224:224 gmlp_ti16_224:224
cait_xxs24_224:224 crossvit_tiny_240:240 tnt_s_patch16_224:224 convmixer_768_32:64 dla46_c:128
hrnet_w18_small:96 nfnet_f0:96 res2net50_26w_4s:96 selecsls42:128 vgg11:64 densenet121:96
inception_v3:139 nasnetalarge:96 pnasnet5large:96 xception41:96 dpn68:96 eca_nfnet_l0:96
volo_d1_224:224 nest_tiny:224 twins_pcpvt_small:128 visformer_tiny:224 inception_next_atto:96
repghostnet_050:128 starnet_s1:128 rdnet_tiny:96 hgnetv2_b0:128 mobilenetv4_conv_small:128
mobilenetv4_hybrid_medium:128 shvit_s1:128 tiny_vit_5m_224:224 vit_tiny_patch16_224:224
deit_tiny_patch16_224:224 beit_base_patch16_224:224 focalnet_tiny_srf:96 davit_tiny:96
mvitv2_tiny:224 repvit_m0_9:128 swiftformer_xs:224 hiera_tiny_224:224 lambda_resnet26t:128
halonet26t:256 botnet26t_256:256 sebotnet33ts_256:256 cspresnet50:96 cspdarknet53:96
coat_lite_tiny:224 convit_tiny:224 cpubone_nano:128 cpubone_b0_bfrobust:128 cs3darknet_focus_s:128
cs3sedarknet_l:96 darknet53:64 cspnext_tiny:128 efficientvim_m1:224 eva02_tiny_patch14_224:224
vit_small_patch16_rope_224:224 fasternet_t0:128 gcvit_xxtiny:224 iformer_t:128 lcnetv2_small:128
lowformer_b0:128 mambaout_femto:128 caformer_s18:96 convformer_s18:96 poolformerv2_s12:96
nextvit_small:128 pit_ti_224:224 resnest14d:96 resnetv2_50:96 resnetv2_50d_gn:96 rexnet_100:128
legacy_seresnet18:96 sequencer2d_s:224 skresnet18:96 swinv2_tiny_window8_256:256
swinv2_cr_tiny_224:224 tresnet_m:96 vitamin_small_224:224 ese_vovnet19b_dw:128 hieradet_small:128
vit_relpos_small_patch16_224:224 vit_tiny_r_s16_p8_224:224 inception_v4:96 inception_resnet_v2:96
efficientnet_lite0:160 efficientnet_b0_gn:96 efficientnetv2_rw_t:128 mixnet_s:128 gernet_s:128
regnetz_b16:96 resnet33ts:96 gcresnext26ts:96 haloregnetz_b:224 fbnetv3_b:128 lcnet_050:128
mobilenetv3_small_050:128 mobilenetv4_conv_medium:160 hgnet_tiny:96 fastvit_sa12:128
convnextv2_atto:96 convnext_zepto_rms:96 xcit_tiny_12_p16_224:224 ese_vovnet39b:64 repvgg_a1:64
""".split()  # noqa: SIM905 - a table
_TRANSFORMERS = """
bert distilbert albert roberta electra mpnet deberta_v2 mobilebert squeezebert gpt2 opt bloom llama
mistral qwen2 gemma phi mamba mixtral t5 whisper wav2vec2 vit clip segformer detr
""".split()  # noqa: SIM905 - a table
#: Networks that there are variants of, and those that are quantised as well.
_VARIED = ("shuffle-ghost", "speech-encoder", "unet-transposed")
_ALSO_QUANTIZED = ("hard-swish-gate", "grouped-dilated", "mixer-tokens", "lstm-vad",
                   "timm mobilenetv2_100:160", "timm resnet18:160",
                   "timm vit_tiny_patch16_224:224", "transformers bert")  # fmt: skip


@dataclass(frozen=True)
class Export:
    """A network by name, and what writes its file."""

    name: str
    write: Callable[[Path], None]


def exports() -> Iterator[Export]:
    """All networks, in a fixed order."""
    for number, (name, build) in enumerate(MODULES.items()):
        opset = max(_OPSETS[number % len(_OPSETS)], _LEAST_OPSET.get(name, 11))
        yield Export(f"own {name}", partial(_module, build, opset))
        if name in ("windows-shifted", "decoder-rotary-gqa", "segmenter-bilinear"):
            yield Export(f"own {name} dynamic", partial(_module, build, 17, dynamic=True))
    for number, name in enumerate(_TIMM):
        opset = _OPSETS[number % len(_OPSETS)]
        yield Export(f"timm {name}", partial(_timm, name, max(opset, 13)))
    for name in _TRANSFORMERS:
        yield Export(f"transformers {name}", partial(_transformers, name))
    for name, model in operators():
        yield Export(f"operator {name}", partial(onnx.save, model))
    yield from _variants()


def _variants() -> Iterator[Export]:
    """A few networks as tools make them."""
    few = {name: partial(_module, MODULES[name], 17) for name in _VARIED}
    for kind in ("float16", "saved-extended", "saved-all", "nhwc"):
        for name, write in few.items():
            yield Export(f"{kind} {name}", partial(_variant, kind, write))
    for name in _ALSO_QUANTIZED:
        library, _, model = name.rpartition(" ")
        write = partial(_timm, model, 17) if library else partial(_module, MODULES[name], 17)
        few[model] = partial(_transformers, model) if library == "transformers" else write
    for kind in ("qdq", "qdq-u8", "qoperator", "qoperator-u8", "dynamic"):
        for name, write in few.items():
            yield Export(f"{kind} {name}", partial(_variant, kind, write))


def _module(build: Any, opset: int, path: Path, *, dynamic: bool = False) -> None:
    module, inputs = build()
    _export(module, inputs, path, opset, dynamic=dynamic)


def _export(
    module: Any, inputs: tuple[Any, ...], path: Path, opset: int, *, dynamic: bool = False
) -> None:
    """Write a module by torch's exporter of traces."""
    import torch

    torch.backends.mha.set_fastpath_enabled(False)  # its operator cannot be exported
    names = [f"input{i}" for i in range(len(inputs))]
    axes = {n: dict.fromkeys(range(t.dim())) for n, t in zip(names, inputs, strict=True)}
    axes = {n: {i: f"{n}_{i}" for i in a if i != 1 or len(a) < 4} for n, a in axes.items()}
    with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
        torch.onnx.export(
            module.eval(),
            inputs,
            str(path),
            opset_version=opset,
            dynamo=False,
            input_names=names,
            dynamic_axes=axes if dynamic else None,
        )


def _timm(name: str, opset: int, path: Path) -> None:
    import timm
    import torch

    model, _, size = name.partition(":")
    network = timm.create_model(model, pretrained=False, exportable=True)
    _export(network, (torch.randn(1, 3, int(size), int(size)),), path, opset)


def _transformers(name: str, path: Path) -> None:
    import torch
    import transformers

    small = {"num_hidden_layers": 2, "vocab_size": 1000, "attn_implementation": "eager"}
    config = transformers.AutoConfig.for_model(name.replace("_", "-") if "_v" in name else name)
    for key, value in small.items():
        with contextlib.suppress(Exception):
            setattr(config, key, value)
    config.use_cache = False
    config.return_dict = False
    network = transformers.AutoModel.from_config(config)

    class First(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, *values: Any) -> Any:
            return self.network(**dict(zip(given, values, strict=True)))[0]

    ids = torch.randint(1, 900, (1, 32))
    picture = getattr(config, "image_size", 224)
    given: dict[str, Any] = {"input_ids": ids}
    if name in ("vit", "segformer", "detr"):
        side = picture if isinstance(picture, int) else 224
        given = {"pixel_values": torch.randn(1, 3, side, side)}
    elif name == "whisper":
        given = {"input_features": torch.randn(1, 80, 3000), "decoder_input_ids": ids}
    elif name == "wav2vec2":
        given = {"input_values": torch.randn(1, 8000)}
    elif name == "t5":
        given["decoder_input_ids"] = ids
    elif name == "clip":
        given["pixel_values"] = torch.randn(1, 3, 224, 224)
    _export(First(), tuple(given.values()), path, 17)


def _variant(kind: str, write: Callable[[Path], None], path: Path) -> None:
    """A network as tools of ONNX Runtime write it."""
    import onnxruntime as ort

    plain = path.with_suffix(".plain.onnx")
    write(plain)
    if kind == "nhwc":
        _channels_last(plain, path)
    elif kind == "float16":
        from onnxruntime.transformers.float16 import convert_float_to_float16

        onnx.save(convert_float_to_float16(onnx.load(plain)), path)
    elif kind.startswith("saved"):
        options = ort.SessionOptions()
        level = ort.GraphOptimizationLevel
        options.graph_optimization_level = (
            level.ORT_ENABLE_EXTENDED if kind.endswith("extended") else level.ORT_ENABLE_ALL
        )
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 4
        ort.InferenceSession(str(plain), options)
    else:
        _quantized(kind, plain, path)


def _quantized(kind: str, plain: Path, path: Path) -> None:
    from onnxruntime import quantization as tools

    if kind == "dynamic":
        tools.quantize_dynamic(plain, path)
        return

    class Reader(tools.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = [_inputs(onnx.load(plain)) for _ in range(2)]

        def get_next(self) -> Any:
            return self.left.pop() if self.left else None

    tools.quantize_static(
        plain,
        path,
        Reader(),
        quant_format=tools.QuantFormat.QDQ if "qdq" in kind else tools.QuantFormat.QOperator,
        activation_type=tools.QuantType.QUInt8 if "u8" in kind else tools.QuantType.QInt8,
        per_channel="u8" in kind,
    )


def _channels_last(plain: Path, path: Path) -> None:
    """Inputs with the channels last, and a transposition before the network, as tf2onnx writes."""
    model = onnx.load(plain)
    value = model.graph.input[0]
    sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    if len(sizes) == 4:
        turned = onnx.helper.make_tensor_value_info(
            "channels_last", onnx.TensorProto.FLOAT, [sizes[i] for i in (0, 2, 3, 1)]
        )
        node = onnx.helper.make_node(
            "Transpose", ["channels_last"], [value.name], perm=[0, 3, 1, 2]
        )
        del model.graph.input[0]
        model.graph.input.insert(0, turned)
        model.graph.node.insert(0, node)
    onnx.save(model, path)


def _inputs(model: onnx.ModelProto) -> dict[str, Any]:
    """Random values for a model's inputs, whole numbers below 50."""
    random = np.random.default_rng(0)
    held = {tensor.name for tensor in model.graph.initializer}
    found = {}
    for value in model.graph.input:
        if value.name in held:
            continue
        kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        shape = [d.dim_value or 1 for d in value.type.tensor_type.shape.dim]
        if np.issubdtype(kind, np.floating):
            found[value.name] = random.standard_normal(shape).astype(kind)
        else:
            found[value.name] = random.integers(0, 50, shape).astype(kind)
    return found


def measured_ms(path: Path, shapes: dict[str | None, tuple[int, ...]], seconds: float) -> float:
    """The lower quartile of CPU time of single runs, in ms."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    model = onnx.load(path, load_external_data=False)
    for value in model.graph.input:
        for dim, size in zip(
            value.type.tensor_type.shape.dim, shapes.get(value.name, ()), strict=False
        ):
            dim.dim_value = size
    given = _inputs(model)
    session.run(None, given)
    times: list[float] = []
    end = time.monotonic() + seconds
    while len(times) < 5 or (time.monotonic() < end and len(times) < 2000):
        begun = time.thread_time_ns()
        session.run(None, given)
        times.append((time.thread_time_ns() - begun) / 1e6)
    return float(np.quantile(times, 0.25))


def _sizes(build: Any) -> dict[str | None, tuple[int, ...]]:
    """Sizes for the inputs of a model with dynamic ones: those that it was exported with."""
    _, inputs = build()
    return {f"input{i}": tuple(tensor.shape) for i, tensor in enumerate(inputs)}


def _checked(export: Export, folder: Path, seconds: float) -> tuple[str, str]:
    """A line about one network, and in a word what is wrong; empty for nothing."""
    path = folder / f"{export.name.replace(' ', '-').replace(':', '-')}.onnx"
    try:
        if not path.exists():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                export.write(path)
    except Exception as error:  # noqa: BLE001 - exporters raise anything
        return f"not exported: {type(error).__name__}: {' '.join(str(error).split())[:90]}", "left"
    dynamic = export.name.endswith(" dynamic")
    shapes = _sizes(MODULES[export.name.split()[1]]) if dynamic else {}
    begun = time.process_time()
    try:
        answer = predict(path, shapes=shapes or None, advise=True)
    except LatprofError as error:
        return f"REFUSED {error}"[:200], "refused"
    except Exception:  # noqa: BLE001 - what this looks for
        return "TRACEBACK " + traceback.format_exc(limit=-3).replace("\n", " | "), "traceback"
    took = time.process_time() - begun
    try:
        truth = measured_ms(path, shapes, seconds)
    except Exception as error:  # noqa: BLE001 - a model that does not run tells nothing
        return f"does not run: {' '.join(str(error).split())[:120]}", "left"
    ratio = answer.latency_ms / truth
    inside = answer.low_ms <= truth <= answer.high_ms
    wrong = "over 2 times" if not 0.5 < ratio < 2 else ""
    wrong = wrong or ("outside" if not inside else "")
    wrong = wrong or ("coverage" if answer.coverage < 0.9 else "")
    lacking = "; ".join([", ".join(answer.unknown), *answer.uncertain])[:160]
    return (
        f"{truth:9.3f} {answer.latency_ms:9.3f} {ratio:6.2f}  {answer.low_ms:8.3f} to "
        f"{answer.high_ms:8.3f} {'in ' if inside else 'OUT'} {answer.coverage:4.0%} {took:5.2f} s  "
        f"{lacking}"
    ), wrong


def main() -> None:
    """Print a line for each network, and what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("words", nargs="*", help="only networks with one of these in their name")
    parser.add_argument("--seconds", type=float, default=0.5, help="how long each is run")
    parser.add_argument("--folder", type=Path, help="where exported files stay")
    parser.add_argument("--list", action="store_true", help="print the names alone")
    given = parser.parse_args()
    chosen = [
        each
        for each in exports()
        if not given.words or any(word in each.name for word in given.words)
    ]
    if given.list:
        sys.stdout.write("".join(f"{each.name}\n" for each in chosen))
        return
    logging.disable(logging.WARNING)
    counts: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for each in chosen:
            line, wrong = _checked(each, folder, given.seconds)
            counts[wrong or "fine"] = counts.get(wrong or "fine", 0) + 1
            sys.stdout.write(f"{each.name:40} {wrong:12} {line}\n")
            sys.stdout.flush()
    sys.stdout.write(", ".join(f"{n} {what}" for what, n in sorted(counts.items())) + "\n")


if __name__ == "__main__":
    main()
