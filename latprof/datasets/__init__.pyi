from latprof.datasets.importers.accuracies import ImportedAccuracies as ImportedAccuracies
from latprof.datasets.importers.accuracies import (
    load_nasbench201_accuracies as load_nasbench201_accuracies,
)
from latprof.datasets.importers.accuracies import load_nasbench_macro as load_nasbench_macro
from latprof.datasets.importers.base import ImportedLatencies as ImportedLatencies
from latprof.datasets.importers.collections.brp_nas import load_brp_nas as load_brp_nas
from latprof.datasets.importers.collections.hat import load_hat as load_hat
from latprof.datasets.importers.collections.help import help_devices as help_devices
from latprof.datasets.importers.collections.help import load_help as load_help
from latprof.datasets.importers.collections.hw_nas_bench import (
    hw_nas_bench_columns as hw_nas_bench_columns,
)
from latprof.datasets.importers.collections.hw_nas_bench import (
    load_hw_nas_bench as load_hw_nas_bench,
)
from latprof.datasets.importers.collections.hw_nas_bench import (
    load_hw_nas_bench_table as load_hw_nas_bench_table,
)
from latprof.datasets.importers.collections.mobile_ml import ImportedOperators as ImportedOperators
from latprof.datasets.importers.collections.mobile_ml import load_mobile_ml as load_mobile_ml
from latprof.datasets.importers.collections.mobile_ml import (
    load_mobile_ml_operators as load_mobile_ml_operators,
)
from latprof.datasets.importers.collections.mobile_ml import mobile_ml_columns as mobile_ml_columns
from latprof.datasets.importers.collections.tinynas import (
    ConvolutionLatencies as ConvolutionLatencies,
)
from latprof.datasets.importers.collections.tinynas import load_tinynas as load_tinynas
from latprof.datasets.importers.columns import column_forms as column_forms
from latprof.datasets.importers.columns import load_column as load_column
from latprof.datasets.importers.flags import detect_flags as detect_flags
from latprof.datasets.importers.lookup_tables import LookupTable as LookupTable
from latprof.datasets.importers.lookup_tables import (
    read_single_path_table as read_single_path_table,
)
from latprof.datasets.importers.lookup_tables import read_yaml_table as read_yaml_table
from latprof.datasets.models.layers import Block as Block
from latprof.datasets.models.layers import Layer as Layer
from latprof.datasets.models.layers import Place as Place
from latprof.datasets.models.layers import convolution_block as convolution_block
from latprof.datasets.models.layers import mobile_inverted_block as mobile_inverted_block
from latprof.datasets.models.layers import pool_and_classifier as pool_and_classifier
from latprof.datasets.published.loading import dataset_names as dataset_names
from latprof.datasets.published.loading import datasheet as datasheet
from latprof.datasets.published.loading import load as load
from latprof.datasets.published.loading import load_graphs as load_graphs
from latprof.datasets.published.loading import load_kernels as load_kernels
from latprof.datasets.published.loading import load_visits as load_visits
from latprof.datasets.published.publishing import publish as publish
from latprof.datasets.published.splits import split_rows as split_rows
from latprof.datasets.spaces.base import Architecture as Architecture
from latprof.datasets.spaces.base import SearchSpace as SearchSpace
from latprof.datasets.spaces.chain import ChainSpace as ChainSpace
from latprof.datasets.spaces.fbnet import FBNetSpace as FBNetSpace
from latprof.datasets.spaces.mnasnet import MnasNetSpace as MnasNetSpace
from latprof.datasets.spaces.named import get_space as get_space
from latprof.datasets.spaces.named import space_from_description as space_from_description
from latprof.datasets.spaces.named import space_names as space_names
from latprof.datasets.spaces.nasbench201 import NASBench201Space as NASBench201Space
from latprof.datasets.spaces.nasbench_macro import NASBenchMacroSpace as NASBenchMacroSpace
from latprof.datasets.spaces.ofa_mobilenetv3 import OFAMobileNetV3Space as OFAMobileNetV3Space
from latprof.datasets.spaces.own.function_space import FunctionSpace as FunctionSpace
from latprof.datasets.spaces.own.function_space import space_from_function as space_from_function
from latprof.datasets.spaces.proxyless import ProxylessSpace as ProxylessSpace
from latprof.datasets.spaces.proxyless_cifar import ProxylessCifarSpace as ProxylessCifarSpace
from latprof.datasets.spaces.variants.mixed_precision import (
    MixedPrecisionSpace as MixedPrecisionSpace,
)
from latprof.datasets.spaces.variants.scaled import MBConvStagesSpace as MBConvStagesSpace
from latprof.datasets.spaces.variants.scaled import Scale as Scale
from latprof.datasets.spaces.variants.scaled import ScaledMBConv as ScaledMBConv
from latprof.datasets.spaces.variants.scaled import ScaledNetwork as ScaledNetwork
from latprof.datasets.spaces.variants.scaled import compound_scaling as compound_scaling
