from latprof.graph.convert.quantization import to_float16 as to_float16
from latprof.graph.convert.quantization import to_int8 as to_int8
from latprof.graph.convert.to_tflite import tflite_bytes as tflite_bytes
from latprof.graph.convert.to_torch import torch_module as torch_module
from latprof.graph.fusion import fuse as fuse
from latprof.graph.fusion_rules import FusionRules as FusionRules
from latprof.graph.operators import Network as Network
from latprof.graph.operators import Operator as Operator
from latprof.graph.reader import load_model as load_model
from latprof.graph.reader import read_network as read_network
from latprof.graph.runtime_kernels.fused_kernels import (
    onnxruntime_kernels as onnxruntime_kernels,
)
from latprof.graph.static_shapes import parse_shape as parse_shape
from latprof.graph.work.graph_node import GraphNode as GraphNode
from latprof.graph.work.handlers import OperatorHandler as OperatorHandler
from latprof.graph.work.handlers import register_operator as register_operator
