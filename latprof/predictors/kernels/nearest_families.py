"""Which family speaks for kernels of an operator that no training had.

Its trees know more of an Equal than those of all families together; covered the kernel is not.
"""

from __future__ import annotations

from collections.abc import Mapping

_ALIKE = {
    "activation": "cast castlike ceil dequantizelinear dynamicquantizelinear isinf isnan "
    "qlinearleakyrelu quantizelinear round shrink sign thresholdedrelu",
    "conv": "causalconvwithstate convinteger convtranspose deformconv nhwcconv nhwcfusedconv",
    "elementwise": "and biasadd bitshift bitwiseand bitwisenot bitwiseor bitwisexor complexmul "
    "equal greater greaterorequal less lessorequal mean mod mulinteger not or "
    "qlinearadd qlinearmul qlinearwhere xor",
    "interpolation": "affinegrid cropandresize gridsample roialign",
    "linear": "dynamicquantizematmul fusedmatmulactivation gemmfastgelu gemmfloat8 "
    "matmulbnb4 matmulinteger matmulinteger16 matmulintegertofloat matmulnbits qgemm "
    "transposematmul",
    "lstm": "dynamicquantizelstm gru rnn",
    "matmul": "attention cdist decodermaskedmultiheadattention einsum flexattention "
    "groupqueryattention linearattention multiheadattention qattention sparseattention",
    "normalization": "embedlayernormalization groupnorm lrn meanvariancenormalization "
    "qembedlayernormalization skipgroupnorm skipsimplifiedlayernormalization",
    "parts": "centercroppad col2im compress constantofshape eyelike gatherblockquantized "
    "gatherelements gathernd im2col nonzero onehot qlinearconcat range reversesequence scatter "
    "scatterelements scatternd tensorscatter torchembedding trilu unfoldtensor unique",
    "layout": "depthtospace",
    "pool": "lppool maxroipool maxunpool nhwcmaxpool qlinearaveragepool",
    "reduction": "argmax argmin cumprod cumsum globallppool nonmaxsuppression "
    "qlinearglobalaveragepool qlinearreducemean topk",
    "softmax": "biassoftmax hardmax logsoftmax qlinearsoftmax",
    "transcendental": "acos acosh asin asinh atan atanh biassplitgelu celu cosh det "
    "cos log selu sin softplus gemmarotaryembedding pow qlinearsigmoid rotaryembedding "
    "scaledsilu sinh softsign swiglu tan",
}
_NEAREST: Mapping[str, str] = {
    name: family for family, names in _ALIKE.items() for name in names.split()
}

#: Times of single operators over what the nearest family says of their size, on an EPYC with AVX2
#: (``python -m benchmarks.exports operator``, the larger ones); where it is not near 1.
_LEVELS: Mapping[str, float] = {
    "argmax": 10, "argmin": 10, "asin": 2.5, "atan": 2.5, "cast": 3, "castlike": 3, "ceil": 2.5,
    "celu": 5, "convtranspose": 1.4, "cos": 4, "cumsum": 15, "depthtospace": 10,
    "dynamicquantizelinear": 2.5, "einsum": 2.5, "gatherelements": 3, "globallppool": 50,
    "gridsample": 0.5, "log": 4, "lppool": 100, "lrn": 25, "mod": 30, "multiheadattention": 2.4,
    "nonzero": 50, "onehot": 14, "pow": 8, "quantizelinear": 2.2, "roialign": 2.5, "round": 2.5,
    "scatterelements": 12, "selu": 4, "shrink": 50, "sign": 10, "sin": 4, "sinh": 40,
    "softplus": 25, "tan": 30, "topk": 9}  # fmt: skip


#: Families of float32 with weights of few bits.
_FEW_BITS = frozenset({"gatherblockquantized", "matmulbnb4", "matmulfpq4", "matmulnbits", "qmoe"})


def nearest_family(family: str) -> str:
    """The family in float32 whose kernels work like those of another; itself where none does."""
    own = family.partition(" ")[0]
    return _NEAREST.get(own, own)


def is_quantized(family: str) -> bool:
    """Whether kernels of a family compute in, or with weights of, 8 bits or fewer."""
    own, _, dtype = family.partition(" ")
    return dtype == "int8" or own in _FEW_BITS


def level_of(family: str) -> float:
    """How much longer a kernel of a family takes than one of its size of the nearest."""
    return _LEVELS.get(family.partition(" ")[0], 1.0)
