"""The fixtures that the pytest plugin gives to other packages."""

import subprocess
import sys

import numpy as np
import onnx

from latprof.predictors.pack.saving import load_pack
from latprof.searchers.base import best_of
from latprof.testing import known_optimum
from latprof.testing.problems import known_accuracies, known_latencies


def test_the_model_is_of_the_space(latprof_model, latprof_space):
    model = onnx.load_model_from_string(latprof_model)
    onnx.checker.check_model(model)
    image = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    assert tuple(image) == latprof_space.input_shape


def test_the_pack_holds_the_predictor(latprof_pack, latprof_predictor, latprof_space):
    pack = load_pack(latprof_pack)
    choices = latprof_space.sample_choices(5)
    assert pack.target.spelling == "fake:clock"
    predicted = pack.predictor.predict(choices)
    np.testing.assert_array_equal(predicted, latprof_predictor.predict(choices))


def test_the_problem_has_the_optimum_that_is_told(latprof_problem):
    space = latprof_problem.space
    every = space.sample_choices(space.num_architectures)
    inside = latprof_problem.keeps_limit(every)
    np.testing.assert_allclose(latprof_problem.latency_ms(every), known_latencies(every))
    assert known_accuracies(every[inside]).max() == known_optimum(latprof_problem.limit_ms)
    assert best_of([]) is None


def test_loading_the_plugin_imports_nothing_heavy():
    code = (
        "import sys, latprof.testing.plugin\n"
        "print(sorted({'numpy', 'onnx', 'torch', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
