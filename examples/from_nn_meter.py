"""nn-Meter's demo, ported: the latency of ONNX files, here with an interval and what it rests on.

With nn-Meter:

    predictor = nn_meter.load_latency_predictor("cortexA76cpu_tflite21")
    for model in sys.argv[1:]:
        print(model, predictor.predict(model, model_type="onnx"))

Usage: python examples/from_nn_meter.py MODEL.onnx...
"""

import sys

import latprof

for answer in latprof.predict(sys.argv[1:]):
    guess = "~" if answer.is_guess else ""
    print(f"{answer.name} {guess}{answer.latency_ms:.3f} ms ({answer.coverage:.0%} covered)")
