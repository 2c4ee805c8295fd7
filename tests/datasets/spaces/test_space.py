"""Search spaces: sampling, spellings, encodings and checks of batches."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latprof.datasets.spaces.base import Architecture
from latprof.datasets.spaces.named import get_space, space_from_description, space_names
from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import InvalidValueError, UnknownNameError

SPACE = ProxylessSpace()
DECISIONS = len(SPACE.num_choices)


class _TinySpace(ProxylessSpace):
    """A space of a few architectures, to be drawn empty."""

    name = "tiny"
    num_choices = np.array([2, 3])


@st.composite
def architectures(draw):
    choices = tuple(draw(st.integers(0, int(n) - 1)) for n in SPACE.num_choices)
    return Architecture("proxyless", choices)


def test_sampling_repeats_with_its_seed():
    assert SPACE.sample(20, seed=1) == SPACE.sample(20, seed=1)
    assert SPACE.sample(20, seed=1) != SPACE.sample(20, seed=2)


def test_networks_share_the_operators_of_blocks_that_they_share():
    """Of 500 networks that a pack's costs are fitted to, each operator is made once."""
    first, second = SPACE.sample(2)
    ours, theirs, batch = (SPACE.operators(*each) for each in ((first,), (second,), (first, 4)))
    assert ours[0] is theirs[0], "the stem"
    assert ours[-3] is theirs[-3], "the last convolution"
    assert [op.macs for op in batch] == [4 * op.macs for op in ours]


def test_a_small_sample_is_the_start_of_a_large_one():
    many = SPACE.sample(5000, seed=4)

    assert many[:150] == SPACE.sample(150, seed=4)
    assert len(set(many)) == 5000


def test_samples_are_those_that_stored_campaigns_drew():
    """SHA-256 of 5,000 rows as version 0.1.0 drew them."""
    digests = [
        hashlib.sha256(SPACE.sample_choices(5000, seed).tobytes()).hexdigest() for seed in (0, 1)
    ]

    assert digests == [
        "d1dad20f9be173d44662ebbb9f3bfc0458f5e421b570b8010c8c43f6fcbb16e7",
        "1acdb7f60b0907fae5a6d91152643bc8e9126ed49895d16261271712c405defa",
    ]


def test_sampling_is_uniform_over_every_decision():
    choices = SPACE.sample_choices(20_000, seed=0)

    for column, count in zip(choices.T, SPACE.num_choices, strict=True):
        observed = np.bincount(column, minlength=count)
        expected = len(choices) / count
        # Chi squared with at most 6 degrees of freedom stays below 30 but for 1 in 25,000.
        assert ((observed - expected) ** 2 / expected).sum() < 30
        assert len(observed) == count


def test_a_whole_space_can_be_drawn_and_no_more():
    tiny = _TinySpace()

    assert len(np.unique(tiny.sample_choices(6), axis=0)) == 6
    with pytest.raises(InvalidValueError, match="holds only 6"):
        tiny.sample_choices(7)


@pytest.mark.parametrize("n", [0, -1])
def test_a_sample_of_none_is_refused(n):
    with pytest.raises(InvalidValueError, match="from 1 to"):
        SPACE.sample(n)


@given(architectures())
def test_spellings_are_read_back(architecture):
    assert SPACE.parse(str(architecture)) == architecture
    assert SPACE.parse("-".join(map(str, architecture.choices))) == architecture


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "proxyless:",
        "fbnet:" + ",".join("0" * 21),
        ",".join("0" * 20),
        ",".join("0" * 22),
        ",".join(["7"] + ["0"] * 20),
        ",".join(["6"] + ["0"] * 20),
        ",".join(["-1"] + ["0"] * 20),
        ",".join(["1.5"] + ["0"] * 20),
        ",".join(["1e0"] + ["0"] * 20),
        ",".join(["9" * 30] + ["0"] * 20),
        "\x00\n",
        "é" * 1000,
        "a" * 100_000,
    ],
)
def test_hostile_spellings_are_refused(text):
    with pytest.raises(InvalidValueError):
        SPACE.parse(text)


@given(st.text(max_size=60))
def test_any_text_is_an_architecture_or_refused(text):
    try:
        choices = SPACE.parse(text).choices
    except InvalidValueError as error:
        message = str(error)
    else:
        message = ""
        assert len(choices) == DECISIONS
    assert "\n" not in message


@given(st.lists(architectures(), max_size=5))
def test_encoding_is_one_hot(batch):
    encoded = SPACE.encode(batch)

    assert encoded.shape == (len(batch), int(SPACE.num_choices.sum()))
    starts = np.cumsum([0, *SPACE.num_choices[:-1]])
    for row, architecture in zip(encoded, batch, strict=True):
        assert np.flatnonzero(row).tolist() == (starts + architecture.choices).tolist()
        assert row.sum() == DECISIONS


def test_both_forms_of_a_batch_mean_the_same():
    batch = SPACE.sample(5)
    array = SPACE.choices(batch)

    assert array.dtype == np.uint8
    assert SPACE.architectures(array) == batch
    assert np.array_equal(SPACE.encode(array), SPACE.encode(batch))


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((2, 20), dtype=np.uint8),
        np.zeros(21, dtype=np.uint8),
        np.zeros((2, 21)),
        np.full((2, 21), 7),
        np.full((2, 21), -1),
        [Architecture("fbnet", (0,) * 21)],
        [Architecture("proxyless", (0,) * 20)],
        [Architecture("proxyless", (0,) * 21), Architecture("proxyless", (0,))],
    ],
)
def test_wrong_batches_are_refused(batch):
    with pytest.raises(InvalidValueError):
        SPACE.choices(batch)


def test_a_space_is_rebuilt_from_its_description():
    space = ProxylessSpace(resolution=160, num_classes=10)

    rebuilt = space_from_description(space.description)

    assert rebuilt.description == space.description
    assert json.loads(space.description)["name"] == "proxyless"


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"name": 1, "options": {}}', "x" * 99])
def test_what_describes_no_space_is_refused(text):
    with pytest.raises((InvalidValueError, UnknownNameError)):
        space_from_description(text)


def test_unknown_spaces_and_options_are_refused():
    with pytest.raises(UnknownNameError, match=r"known: .*proxyless"):
        get_space("proxylss")
    with pytest.raises(InvalidValueError, match="colour"):
        get_space("proxyless", colour="red")
    assert "proxyless" in space_names()


def test_an_iterator_of_architectures_is_a_batch_like_their_list():
    drawn = get_space("proxyless").sample(3)
    space = get_space("proxyless")
    np.testing.assert_array_equal(space.choices(iter(drawn)), space.choices(drawn))


@pytest.mark.parametrize("choice", [0.7, float("nan"), None, "1", [0, 1], 10**30])
def test_a_choice_that_is_no_index_is_refused_not_rounded(choice):
    space = get_space("nasbench201")
    for choices in ((choice,) * 6, (0, 0, 0, 0, 0, choice)):
        with pytest.raises(InvalidValueError, match="no candidate"):
            space.choices([Architecture("nasbench201", choices)])


@pytest.mark.parametrize("options", [{"resolution": 224.5}, {"num_classes": "x"}, {"widths": 5}])
def test_options_of_the_wrong_type_are_refused(options):
    with pytest.raises(InvalidValueError):
        get_space("proxyless", **options)


def test_a_seed_or_a_number_that_is_not_whole_is_refused():
    space = get_space("proxyless")
    for n, seed in ((1.5, 0), ("3", 0), (1, 0.5), (1, None)):
        with pytest.raises(InvalidValueError):
            space.sample_choices(n, seed)
