"""What of TFLite's file format is written: numbers of operators, types, and fields.

Facts of TensorFlow Lite's public schema (``schema.fbs``, version 3): codes of the built-in
operators, codes of number types, and for each table of options its number in the union
``BuiltinOptions`` and its fields with slot, kind and default.
"""

from __future__ import annotations

from types import MappingProxyType

FILE_IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3

#: NumPy's names of number types and TFLite's codes.
TYPE_CODES = MappingProxyType(
    {"float32": 0, "int32": 2, "uint8": 3, "int64": 4, "bool": 6, "int16": 7, "int8": 9}
)

NO_ACTIVATION, RELU, RELU6 = 0, 1, 3
SAME, VALID = 0, 1


_ACTIVATION = ("Int8", 0)
_WINDOW = ("padding", "Int8", 0), ("stride_w", "Int32", 0), ("stride_h", "Int32", 0)
_DILATION = ("dilation_w", "Int32", 1), ("dilation_h", "Int32", 1)

#: Options: their number in the union, and (name, kind, default) of each slot.
OPTIONS: MappingProxyType[str, tuple[int, tuple[tuple[str, str, float], ...]]] = MappingProxyType(
    {
        "Conv2D": (1, (*_WINDOW, ("activation", *_ACTIVATION), *_DILATION)),
        "DepthwiseConv2D": (
            2,
            (*_WINDOW, ("multiplier", "Int32", 0), ("activation", *_ACTIVATION), *_DILATION),
        ),
        "Pool2D": (
            5,
            (
                *_WINDOW,
                ("filter_w", "Int32", 0),
                ("filter_h", "Int32", 0),
                ("activation", *_ACTIVATION),
            ),
        ),
        "FullyConnected": (
            8,
            (("activation", *_ACTIVATION), ("format", "Int8", 0), ("keep_num_dims", "Bool", 0)),
        ),
        "Softmax": (9, (("beta", "Float32", 0.0),)),
        "Concatenation": (10, (("axis", "Int32", 0), ("activation", *_ACTIVATION))),
        "Add": (11, (("activation", *_ACTIVATION),)),
        "LocalResponseNormalization": (
            13,
            (
                ("radius", "Int32", 0),
                ("bias", "Float32", 0.0),
                ("alpha", "Float32", 0.0),
                ("beta", "Float32", 0.0),
            ),
        ),
        "ResizeBilinear": (
            15,
            (
                ("height", "Int32", 0),
                ("width", "Int32", 0),
                ("align_corners", "Bool", 0),
                ("half_pixel", "Bool", 0),
            ),
        ),
        "SpaceToDepth": (19, (("block_size", "Int32", 0),)),
        "Mul": (21, (("activation", *_ACTIVATION),)),
        "Gather": (23, (("axis", "Int32", 0), ("batch_dims", "Int32", 0))),
        "Reducer": (27, (("keep_dims", "Bool", 0),)),
        "Sub": (28, (("activation", *_ACTIVATION),)),
        "Div": (29, (("activation", *_ACTIVATION),)),
        "StridedSlice": (32, (("begin_mask", "Int32", 0), ("end_mask", "Int32", 0))),
        "Cast": (37, (("from_type", "Int8", 0), ("to_type", "Int8", 0))),
        "ArgMax": (40, (("output_type", "Int8", 0),)),
        "ArgMin": (57, (("output_type", "Int8", 0),)),
        "TransposeConv": (49, (*_WINDOW, ("activation", *_ACTIVATION))),
        "ResizeNearestNeighbor": (
            74,
            (("align_corners", "Bool", 0), ("half_pixel", "Bool", 0)),
        ),
        "LeakyRelu": (75, (("alpha", "Float32", 0.0),)),
        "MirrorPad": (77, (("mode", "Int8", 0),)),
        "DepthToSpace": (94, (("block_size", "Int32", 0),)),
        "BatchMatMul": (101, (("adj_x", "Bool", 0), ("adj_y", "Bool", 0))),
        "Cumsum": (102, (("exclusive", "Bool", 0), ("reverse", "Bool", 0))),
        "Gelu": (116, (("approximate", "Bool", 0),)),
    }
)

#: Operators: code, version, and the table of their options ("" for none that is written).
OPERATORS: MappingProxyType[str, tuple[int, int, str]] = MappingProxyType(
    {
        "ABS": (101, 1, ""),
        "ADD": (0, 1, "Add"),
        "ARG_MAX": (56, 1, "ArgMax"),
        "ARG_MIN": (79, 1, "ArgMin"),
        "AVERAGE_POOL_2D": (1, 1, "Pool2D"),
        "BATCH_MATMUL": (126, 1, "BatchMatMul"),
        "BROADCAST_TO": (130, 2, ""),
        "CAST": (53, 1, "Cast"),
        "CEIL": (104, 1, ""),
        "CONCATENATION": (2, 1, "Concatenation"),
        "CONV_2D": (3, 1, "Conv2D"),
        "COS": (108, 1, ""),
        "CUMSUM": (128, 1, "Cumsum"),
        "DEPTHWISE_CONV_2D": (4, 2, "DepthwiseConv2D"),
        "DEPTH_TO_SPACE": (5, 1, "DepthToSpace"),
        "DIV": (42, 1, "Div"),
        "ELU": (111, 1, ""),
        "EQUAL": (71, 1, ""),
        "EXP": (47, 1, ""),
        "FLOOR": (8, 1, ""),
        "FULLY_CONNECTED": (9, 5, "FullyConnected"),
        "GATHER": (36, 1, "Gather"),
        "GELU": (150, 1, "Gelu"),
        "GREATER": (61, 1, ""),
        "GREATER_EQUAL": (62, 1, ""),
        "HARD_SWISH": (117, 1, ""),
        "LEAKY_RELU": (98, 1, "LeakyRelu"),
        "LESS": (58, 1, ""),
        "LESS_EQUAL": (63, 1, ""),
        "LOCAL_RESPONSE_NORMALIZATION": (13, 1, "LocalResponseNormalization"),
        "LOG": (73, 1, ""),
        "LOGICAL_AND": (86, 1, ""),
        "LOGICAL_NOT": (87, 1, ""),
        "LOGICAL_OR": (84, 1, ""),
        "LOGISTIC": (14, 1, ""),
        "LOG_SOFTMAX": (50, 1, ""),
        "MAXIMUM": (55, 1, ""),
        "MAX_POOL_2D": (17, 1, "Pool2D"),
        "MEAN": (40, 1, "Reducer"),
        "MINIMUM": (57, 1, ""),
        "MIRROR_PAD": (100, 1, "MirrorPad"),
        "MUL": (18, 1, "Mul"),
        "NEG": (59, 1, ""),
        "NOT_EQUAL": (72, 1, ""),
        "PAD": (34, 1, ""),
        "PADV2": (60, 1, ""),
        "POW": (78, 1, ""),
        "PRELU": (54, 1, ""),
        "REDUCE_MAX": (82, 1, "Reducer"),
        "REDUCE_MIN": (89, 1, "Reducer"),
        "REDUCE_PROD": (81, 1, "Reducer"),
        "RELU": (19, 1, ""),
        "RELU6": (21, 1, ""),
        "RESHAPE": (22, 1, ""),
        "RESIZE_BILINEAR": (23, 3, "ResizeBilinear"),
        "RESIZE_NEAREST_NEIGHBOR": (97, 3, "ResizeNearestNeighbor"),
        "ROUND": (116, 1, ""),
        "RSQRT": (76, 1, ""),
        "SELECT_V2": (123, 1, ""),
        "SIGN": (158, 1, ""),
        "SIN": (66, 1, ""),
        "SLICE": (65, 1, ""),
        "SOFTMAX": (25, 1, "Softmax"),
        "SPACE_TO_DEPTH": (26, 1, "SpaceToDepth"),
        "SQRT": (75, 1, ""),
        "SQUARE": (92, 1, ""),
        "SQUARED_DIFFERENCE": (99, 1, ""),
        "STRIDED_SLICE": (45, 1, "StridedSlice"),
        "SUB": (41, 1, "Sub"),
        "SUM": (74, 1, "Reducer"),
        "TANH": (28, 1, ""),
        "TILE": (69, 1, ""),
        "TOPK_V2": (48, 1, ""),
        "TRANSPOSE": (39, 1, ""),
        "TRANSPOSE_CONV": (67, 1, "TransposeConv"),
    }
)
