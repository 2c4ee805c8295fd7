"""Which family speaks for kernels of an operator that no training had.

Its trees know more of an Equal than those of all families together; covered the kernel is not.
"""

from __future__ import annotations

from collections.abc import Mapping

_ALIKE = {
    "activation": "cast castlike ceil dequantizelinear dynamicquantizelinear isinf isnan "
    "qlinearleakyrelu quantizelinear round shrink sign thresholdedrelu",
    "conv": "causalconvwithstate convtranspose deformconv nhwcconv nhwcfusedconv",
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
    "pool": "maxroipool maxunpool nhwcmaxpool qlinearaveragepool",
    "reduction": "argmax argmin cumprod cumsum globallppool nonmaxsuppression "
    "qlinearglobalaveragepool qlinearreducemean topk",
    "softmax": "biassoftmax hardmax logsoftmax qlinearsoftmax",
    "transcendental": "acos acosh asin asinh atan atanh biassplitgelu celu cosh det "
    "gemmarotaryembedding pow qlinearsigmoid rotaryembedding scaledsilu sinh softsign swiglu tan",
}
_NEAREST: Mapping[str, str] = {
    name: family for family, names in _ALIKE.items() for name in names.split()
}


def nearest_family(family: str) -> str:
    """The family in float32 whose kernels work like those of another; itself where none does."""
    own = family.partition(" ")[0]
    return _NEAREST.get(own, own)
