"""Kernels of a graph on a target."""

import pytest

from latprof.predictors.kernels.graph_kernels import block_of


@pytest.mark.parametrize(
    ("device_name", "block"),
    [
        ("AMD EPYC (family 25 model 17, 2600 MHz, avx2 fma)", 8),
        ("AMD EPYC (family 25 model 17, 2600 MHz, avx512 avx512-vnni avx512-bf16)", 16),
        ("Intel(R) Xeon(R) Processor (family 6 model 167, avx-vnni avx512 amx)", 16),
        ("Intel(R) Xeon(R) Gold 6226 (family 6 model 85, avx2 fma)", 8),
        ("Intel Xeon Gold 6226", 16),
        ("AMD EPYC 7742", 8),
        ("4x 0x41/0xd0b, 4x 0x41/0xd05", 0),
        ("ARM (neon neon-fp16)", 0),
    ],
)
def test_channels_of_a_block_are_by_the_instructions_that_a_target_names(device_name, block):
    assert block_of(device_name) == block
