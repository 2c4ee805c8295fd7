from latprof.datasets.zoo.catalogue import build as build
from latprof.datasets.zoo.catalogue import counts as counts
from latprof.datasets.zoo.catalogue import facts as facts
from latprof.datasets.zoo.catalogue import names as names
from latprof.datasets.zoo.catalogue import onnx_bytes as onnx_bytes
from latprof.datasets.zoo.catalogue import write_model as write_model
from latprof.datasets.zoo.entries import ZooNetwork as ZooNetwork
from latprof.datasets.zoo.variants import ZooVariant as ZooVariant
