"""Every registered space passes the contract suite."""

import pytest

from latprof.datasets.spaces.named import get_space, space_from_description, space_names
from latprof.testing.space_contract import SpaceContract

#: Options that make networks small and quick to run.
SMALL = {
    "fbnet": {"resolution": 64, "num_classes": 10, "head_width": 64},
    "mnasnet": {"resolution": 64, "num_classes": 10},
    "nasbench-macro": {"resolution": 16},
    "nasbench201": {"resolution": 16, "cells_per_stage": 2, "channels": 8},
    "ofa-mobilenetv3": {"num_classes": 10, "resolutions": (64, 96)},
    "proxyless-cifar": {"blocks_per_stage": 1, "final_channels": 96, "resolution": 16},
    "proxyless": {"resolution": 64, "num_classes": 10},
    "uninet": {"resolution": 64, "num_classes": 10, "channels": (16,) * 6, "repeats": (1,) * 6},
}


#: Spaces with a test module of their own: models of 8-bit integers have no torch module.
OTHERS = {"mixed-precision"}


@pytest.fixture(params=sorted(set(space_names()) - OTHERS), scope="module")
def registered(request):
    return get_space(request.param, **SMALL.get(request.param, {}))


class TestRegisteredSpaces(SpaceContract):
    @pytest.fixture
    def space(self, registered):
        return registered


def test_a_space_is_rebuilt_from_its_description(registered):
    rebuilt = space_from_description(registered.description)

    assert type(rebuilt) is type(registered)
    assert rebuilt.description == registered.description


def test_options_that_make_a_space_small_are_of_spaces_that_are_registered():
    assert set(SMALL) <= set(space_names())
