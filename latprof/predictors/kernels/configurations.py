"""Kernel configurations: what a kernel's time depends on, as a family and numbers.

Fused operators of a graph, rows of published tables and timed kernels all become configurations,
so that one model learns from any of them and answers for any of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr
from latprof.graph.work.data_runs import (
    broadcast_run,
    part_run,
    turned_groups,
    turned_run,
    turns_of,
)
from latprof.predictors.kernels.nearest_families import nearest_family

if TYPE_CHECKING:
    from latprof.graph.operators import Operator, Shape

Floats: TypeAlias = NDArray[np.float64]

#: What describes a kernel, in the order of every configuration's numbers. Heights and widths are
#: of images; where there are none, the rows of a matrix are the width. ``read``, ``written`` and
#: ``weights`` are elements, ``fused`` counts operators that joined besides an activation,
#: ``last`` is 1 where the last dimension is worked along, and for convolutions in a runtime's
#: blocked layout; ``after`` says what made the input: 0 the caller, 1 a convolution or what keeps
#: its memory layout, 2 anything else. ``run`` are elements that are handled in a row where an
#: operator broadcasts, cuts or turns its data, ``turns`` the groups of dimensions that it goes
#: through (:mod:`~latprof.graph.work.data_runs`). The last three are of the network around
#: a kernel, and say what its caches may still hold: elements that kernels touched since the oldest
#: input was written, and what all of its kernels read of weights, and write; 0 where a kernel was
#: timed alone.
NUMBERS = (
    "batch",
    "height",
    "width",
    "out_height",
    "out_width",
    "in_channels",
    "out_channels",
    "kernel_height",
    "kernel_width",
    "stride",
    "dilation",
    "groups",
    "inputs",
    "activation",
    "fused",
    "last",
    "after",
    "run",
    "turns",
    "read",
    "written",
    "weights",
    "macs",
    "distance",
    "network_weights",
    "network_written",
)
#: Those of :data:`NUMBERS` that are of the network around a kernel.
CONTEXT = NUMBERS[-3:]

#: The domain of ONNX Runtime's kernels in its blocked layout.
_BLOCKED = "com.microsoft.nchwc"
#: Operators that move data and compute nothing.
_LAYOUT = frozenset({"Transpose", "ReorderInput", "ReorderOutput", "SpaceToDepth",
                     "ChannelShuffle"})  # fmt: skip
_ELEMENTWISE = frozenset({"Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Where", "Pow"})
#: Exponents that are products, and not powers.
_PRODUCTS = ((2.0,), (3.0,))
_PLAIN = frozenset({"Clip", "Relu", "LeakyRelu", "HardSigmoid", "Neg", "Abs", "Floor", "PRelu"})
_SIGMOIDS = frozenset({"Sigmoid", "Tanh", "HardSwish", "Erf", "Exp", "Sqrt",
                       "Gelu", "FastGelu", "BiasGelu", "QuickGelu", "Elu", "Mish", "Swish",
                       "Reciprocal"})  # fmt: skip
_WINDOWS = frozenset({"MaxPool", "AveragePool"})
_WHOLE = frozenset({"GlobalAveragePool", "GlobalMaxPool"})
_NORMALIZATIONS = frozenset({"LayerNormalization", "SimplifiedLayerNormalization",
                             "SkipLayerNormalization", "InstanceNormalization",
                             "GroupNormalization", "RMSNormalization",
                             "LpNormalization"})  # fmt: skip
_PARTS = frozenset({"Slice", "Split", "Gather", "Concat", "Pad", "Expand", "Tile"})
#: Operators of one family that may differ in cost, each family's about from cheap to dear: where
#: they are distinguished ``activation`` is larger by :data:`_TYPE_STEP` times the type's place.
_TYPES = ("Resize nearest", "Resize linear", "Resize cubic",
          "ReorderInput", "ReorderOutput",
          "Transpose", "ChannelShuffle", "DepthToSpace", "SpaceToDepth",
          "Add", "Sub", "Mul", "Max", "Min", "Sum", "Div", "Where", "Pow",
          "Relu", "Clip", "Neg", "Abs", "Floor", "LeakyRelu", "PRelu", "HardSigmoid",
          "Sqrt", "Reciprocal", "HardSwish", "Sigmoid", "Swish", "QuickGelu", "Tanh", "Exp", "Log",
          "Elu", "Selu", "Softplus", "FastGelu", "Gelu", "BiasGelu", "Mish", "Sin", "Cos", "Erf",
          "MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean",
          "ReduceMax", "ReduceMin", "ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2",
          "ReduceProd", "ReduceLogSumExp",
          "Slice", "Split", "Gather", "Concat", "Pad", "Expand", "Tile",
          "RMSNormalization", "SimplifiedLayerNormalization", "LayerNormalization",
          "LpNormalization", "InstanceNormalization", "GroupNormalization")  # fmt: skip
_TYPE_STEP = 4.0
#: Added to ``activation`` for signed bytes: beyond all types.
_SIGNED = _TYPE_STEP * (len(_TYPES) + 1)
#: Activations by what they cost beside the kernel that they are fused into. ONNX Runtime's kernels
#: of convolutions have ReLU inside; another one is a pass over what was written, a quarter of a
#: depthwise convolution's time.
_ACTIVATION_COST = {"relu": 1.0, "relu6": 1.5, "clip": 1.5, "leakyrelu": 2.0, "hardsigmoid": 2.5}


@dataclass(frozen=True)
class KernelConfiguration:
    """One kernel: its family, and its :data:`NUMBERS`. Equal ones take the same time."""

    family: str
    numbers: tuple[float, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Configurations(ShortRepr):
    """n configurations as columns: ``families`` of shape (n,), ``numbers`` of shape (n, 26)."""

    families: NDArray[np.str_]
    numbers: Floats

    def __len__(self) -> int:
        return len(self.families)

    @classmethod
    def of(cls, each: Iterable[KernelConfiguration]) -> Configurations:
        """Stack single configurations."""
        rows = list(each)
        numbers = np.array([row.numbers for row in rows], dtype=np.float64)
        families = np.array([row.family for row in rows], dtype=np.str_)
        return cls(families, numbers.reshape(-1, len(NUMBERS)))

    def rows(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> Configurations:
        """Those that an index or a mask chooses."""
        return Configurations(self.families[chosen], self.numbers[chosen])

    def column(self, name: str) -> Floats:
        """One of :data:`NUMBERS`, shape (n,)."""
        values: Floats = self.numbers[:, NUMBERS.index(name)]
        return values

    def digests(self, *, context: bool = False) -> list[int]:
        """Numbers of 64 bits, equal for equal configurations, in any network or in such a one."""
        numbers = self.numbers if context else self.numbers[:, : -len(CONTEXT)]
        rows = np.ascontiguousarray(numbers, dtype="<f4")
        return [
            int.from_bytes(blake2b(row.tobytes(), digest_size=8, key=family.encode()).digest())
            for family, row in zip(self.families.tolist(), rows, strict=True)
        ]

    @classmethod
    def joined(cls, parts: Sequence[Configurations]) -> Configurations:
        """Those of one or more parts, one behind the other."""
        return cls(
            np.concatenate([part.families for part in parts]),
            np.concatenate([part.numbers for part in parts]),
        )


def configuration(family: str, **numbers: float) -> KernelConfiguration:
    """A configuration from :data:`NUMBERS` by name; sizes are 1 and counts 0 where not given."""
    ones = (*NUMBERS[:5], *NUMBERS[7:13])
    default = {name: float(name in ones) for name in NUMBERS}
    return KernelConfiguration(family, tuple(map(float, (default | numbers).values())))


def configuration_of(
    operator: Operator, after: int = 1, distance: float = 0.0, *, typed: bool = True
) -> KernelConfiguration:
    """The configuration of a fused operator, the other arguments as in :data:`NUMBERS`.

    Operators differ by signed bytes in ``activation``, and with ``typed`` those of one family by
    their type: not in tables of other projects.
    """
    family = family_of(operator)
    numbers = _common(operator) | _sizes(family, operator)
    numbers |= {"after": float(after), "distance": float(distance)}
    kind = operator.op_type
    if kind in ("Resize", "Upsample"):
        kind = f"Resize {operator.attributes.get('mode', 'nearest')}"
    if typed and kind in _TYPES:
        numbers["activation"] += _TYPE_STEP * (1 + _TYPES.index(kind))
    if operator.precision not in ("float32", ""):
        family = f"{family} {operator.precision}"
        numbers["activation"] += _SIGNED * ("int8" in operator.input_dtypes[:1])
    return configuration(family, **numbers)


def family_of(operator: Operator) -> str:
    """Which kernels an operator's are compared with, whatever their sizes and number format."""
    op_type = operator.op_type
    if op_type == "Pow" and operator.constants.get(1) not in _PRODUCTS:
        return "pow"
    if op_type in ("Conv", "FusedConv", "QLinearConv"):
        per_group = operator.weight_shape[1] if len(operator.weight_shape) > 1 else 0
        dense = "conv" if operator.groups == 1 else "grouped"
        return "depthwise" if operator.groups > 1 and per_group == 1 else dense
    if op_type in ("Gemm", "FusedGemm", "FusedMatMul", "MatMul", "QLinearMatMul"):
        return "linear" if operator.weight_shape else "matmul"
    families: tuple[tuple[frozenset[str], str], ...] = (
        (_LAYOUT, "layout"),
        (_ELEMENTWISE, "elementwise"),
        (_PLAIN, "activation"),
        (_SIGMOIDS, "transcendental"),
        (_WINDOWS, "pool"),
        (_WHOLE, "reduction"),
        (_NORMALIZATIONS, "normalization"),
        (_PARTS, "parts"),
    )
    for members, family in families:
        if op_type in members:
            return family
    if op_type in ("Resize", "Upsample") and operator.attributes.get("mode") in ("linear", "cubic"):
        return "interpolation"
    return "reduction" if op_type.startswith("Reduce") else op_type.lower()


def _common(operator: Operator) -> dict[str, float]:
    """What every operator has."""
    inputs, outputs = operator.input_shapes, operator.output_shapes
    applied = [each for each in operator.activation.lower().split("+") if each]
    first = next((each.split()[0].split("(")[0] for each in applied if each != "add"), "")
    return {
        "inputs": len(inputs),
        "activation": _ACTIVATION_COST.get(first, 3.0) if first else 0.0,
        "fused": applied.count("add") + len({*operator.prepared} & {*operator.parts}),
        "last": float(operator.domain == _BLOCKED),
        "read": float(_read(operator)),
        "written": float(sum(map(math.prod, outputs))),
        "weights": float(_weights(operator)),
        "macs": float(operator.macs),
    }


def _read(operator: Operator) -> int:
    """Elements that one run reads of what other operators made; of what is cut only the part."""
    if operator.op_type in ("Slice", "Gather", "GatherElements", "GatherND"):
        return sum(map(math.prod, operator.output_shapes))
    return sum(map(math.prod, operator.input_shapes))


def _weights(operator: Operator) -> int:
    """Constants that one run reads, in elements; of a table what becomes the output."""
    if operator.op_type in ("Gather", "GatherND", "EmbedLayerNormalization"):
        return sum(map(math.prod, operator.output_shapes))
    return sum(map(math.prod, operator.weight_shapes or (operator.weight_shape or (0,),)))


def _sizes(family: str, operator: Operator) -> dict[str, float]:
    """Batch, image and channels as the family, or the nearest that has trees, means them."""
    family = nearest_family(family)
    data = operator.input_shapes[0] if operator.input_shapes else ()
    out = operator.output_shapes[0] if operator.output_shapes else ()
    if family in ("linear", "matmul"):
        return _product_sizes(data, operator)
    if family in ("conv", "depthwise", "grouped", "pool") or (
        len(data) >= 4 and family in ("reduction", "resize", "upsample", "interpolation")
    ):
        return _image_sizes(data, out) | _window_sizes(operator)
    sizes = _rows_and_columns(data, out)
    return sizes | {"last": _along_last(operator, data)} | _runs(family, operator, data, out)


def _runs(family: str, operator: Operator, data: Shape, out: Shape) -> dict[str, float]:
    """What is handled in a row, and in how many groups; of a transposition also their sizes."""
    if operator.op_type == "Transpose" and data:
        order = tuple(operator.attributes.get("perm") or reversed(range(len(data))))
        known = sorted(order) == [*range(len(data))]  # a kernel may join what no shape tells of
        before, after = turned_groups(data, order) if known else ([], [])
        if not after:
            return {}
        total = math.prod(before)
        return {
            "run": turned_run(data, order),
            "turns": turns_of(list(order)) - len(order) + len(after) if len(after) > 1 else 1,
            "in_channels": before[-1],
            "out_channels": before[after[-1]],
            "width": total / before[-1],
            "out_width": total / before[after[-1]],
        }
    if family == "elementwise" or operator.op_type in ("Expand", "Tile", "PRelu"):
        run, groups = broadcast_run(operator)
        return {"run": run, "turns": groups}
    if family == "parts":
        axis = operator.attributes.get("axis")
        if operator.op_type == "Gather":  # whose table may be a constant
            table = operator.weight_shape if 0 in operator.weight_positions else data
            return {"run": part_run(table, out, axis if isinstance(axis, int) else 0)}
        return {"run": part_run(data, out, None)}
    return {}


def _image_sizes(data: Shape, out: Shape) -> dict[str, float]:
    """Of values with the batch first and the channels second."""
    sizes: dict[str, float] = {}
    for before, shape in (("", data), ("out_", out)):
        image = shape[2:]
        sizes[f"{before}height"] = math.prod(image[:-1])
        sizes[f"{before}width"] = image[-1] if image else 1
    sizes["batch"] = data[0] if data else 1
    sizes["in_channels"] = data[1] if len(data) > 1 else 1
    sizes["out_channels"] = out[1] if len(out) > 1 else sizes["in_channels"]
    return sizes


def _window_sizes(operator: Operator) -> dict[str, float]:
    sides: Shape = operator.kernel_shape or operator.weight_shape[2:] or (operator.kernel or 1,)
    return {
        "kernel_height": math.prod(sides[:-1]),
        "kernel_width": sides[-1],
        "stride": operator.stride,
        "dilation": operator.dilation,
        "groups": operator.groups,
    }


def _product_sizes(data: Shape, operator: Operator) -> dict[str, float]:
    """Of a matrix product: rows are the width, what is summed the channels read."""
    out = operator.output_shapes[0] if operator.output_shapes else ()
    columns = out[-1] if out else 1
    outputs = math.prod(out)
    summed = round(operator.macs / outputs) if outputs else 0
    batch = math.prod(out[:-2]) if not operator.weight_shape else 1
    rows = outputs / max(columns * batch, 1)
    return {
        "batch": max(batch, 1),
        "width": rows,
        "out_width": rows,
        "in_channels": max(summed, 1) if summed else (data[-1] if data else 1),
        "out_channels": columns,
    }


def _rows_and_columns(data: Shape, out: Shape) -> dict[str, float]:
    """Of what works along the last dimension, or on each element alone."""
    return {
        "width": math.prod(data[:-1]),
        "out_width": math.prod(out[:-1]),
        "in_channels": data[-1] if data else 1,
        "out_channels": out[-1] if out else 1,
    }


def _along_last(operator: Operator, data: Shape) -> float:
    """1 where an operator works along, or broadcasts over, the last dimension; 0 elsewhere."""
    if nearest_family(family_of(operator)) == "elementwise":
        sizes = {math.prod(s) for s in (*operator.input_shapes, *operator.weight_shapes)}
        return float(len(sizes) > 1)
    if operator.op_type == "Transpose":
        order = [*operator.attributes.get("perm", ())]
        return float(order[-1:] == [len(data) - 1])
    axis = operator.attributes.get("axis", -1)
    axes = operator.attributes.get("axes") or (axis if isinstance(axis, int) else -1,)
    return float(any(each in (-1, len(data) - 1) for each in axes))
