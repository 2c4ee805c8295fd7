"""What `train` is given goes together, or is refused before anything is read."""

import pytest

from latprof.errors import InvalidValueError, UsageError
from latprof.workflows.train import train


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "a store is needed"),
        ({"store": "no.db", "published": "help:a/b/c"}, "takes no store"),
        ({"published": "help:a/b/c", "space": "fbnet"}, "no space"),
        ({"published": "help:a/b/c", "target": "cpu"}, "no target"),
        ({"store": "no.db", "device_name": "Phone 1"}, "`device_name` is for `published`"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(arguments, words):
    with pytest.raises(UsageError, match=words):
        train(**arguments)


@pytest.mark.parametrize("wrong", [{"test_fraction": 1.0}, {"seed": -1}])
def test_numbers_are_refused_before_the_store_is_opened(wrong):
    (name,) = wrong
    with pytest.raises(InvalidValueError) as caught:
        train("no.db", **wrong)
    assert caught.value.field == name
