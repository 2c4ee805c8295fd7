"""A phone's identity and clusters, and which cores a word names."""

import pytest
from phone_profiles import PROFILES

from latprof.errors import DeviceError, InvalidValueError
from latprof.profilers.runtimes.android.phone_facts import (
    cores_for,
    parse_clusters,
    parse_properties,
    phone_facts,
)


def lines(profile):
    text, first = [], 0
    for count, clock in PROFILES[profile].clusters:
        cores = range(first, first + count)
        text += [f"{core} {clock} : {' '.join(map(str, cores))}" for core in cores]
        first += count
    return "\n".join(reversed(text))


def facts(profile):
    answers = PROFILES[profile].answers()
    values = parse_properties(answers["answers/getprop"])
    return phone_facts(values, parse_clusters(lines(profile)), "asked")


def test_a_phone_says_what_it_is():
    told = facts("pixel-6")
    assert (told.serial, told.model, told.soc, told.android, told.sdk) == (
        "0A1B2C3D4E5F",
        "Pixel 6",
        "Tensor",
        "14",
        34,
    )
    assert str(told) == "Google Pixel 6 (Tensor, 4x1.80 GHz + 2x2.25 GHz + 2x2.80 GHz, Android 14)"


def test_an_old_phone_names_its_soc_by_its_board():
    assert facts("pixel-1").soc == "msm8996"


@pytest.mark.parametrize(
    ("profile", "prime", "big", "little"),
    [
        ("pixel-1", (2, 3), (2, 3), (0, 1)),
        ("pixel-3a", (6, 7), (6, 7), (0, 1, 2, 3, 4, 5)),
        ("pixel-4", (7,), (4, 5, 6), (0, 1, 2, 3)),
        ("pixel-6", (6, 7), (4, 5), (0, 1, 2, 3)),
        ("pixel-8", (8,), (4, 5, 6, 7), (0, 1, 2, 3)),
        ("samsung", (7,), (3, 4, 5, 6), (0, 1, 2)),
    ],
)
def test_words_name_clusters_and_n_threads_take_n_cores(profile, prime, big, little):
    clusters = facts(profile).clusters
    for word, cores in (("prime", prime), ("big", big), ("little", little)):
        assert cores_for(word, len(cores), clusters) == cores
        assert cores_for(word, 1, clusters) == cores[:1]
        with pytest.raises(InvalidValueError, match="fewer cores"):
            cores_for(word, len(cores) + 1, clusters)


def test_cores_by_number():
    clusters = facts("pixel-6").clusters
    assert cores_for("0,6", 2, clusters) == (0, 6)
    for wrong in ("8", "0,99", "fast", "", "0,", "-1"):
        with pytest.raises(InvalidValueError):
            cores_for(wrong, 1, clusters)


def test_clocks_that_cannot_be_seen_leave_numbers_alone():
    clusters = parse_clusters("0  : \n1  : \n2  : ")
    assert [cluster.cores for cluster in clusters] == [(0,), (1,), (2,)]
    with pytest.raises(InvalidValueError, match="by number"):
        cores_for("big", 1, clusters)
    assert cores_for("1", 1, clusters) == (1,)


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("0 18 : \n1 18 : \n2 24 : 2 3\n3 24 : \n5 24 : ", [(0, 1), (2, 3), (5,)]),
        ("0 <unknown> : 0 1\n1 <unknown> : 0 1\n2 24 kHz : 2", [(0, 1), (2,)]),
        ("0 18 : x\n99 1 : 99\n1 18 : 0-1\n2 24000000000 : 2\n3 : 4 : 5", [(2,), (0, 1)]),
    ],
)
def test_cores_are_grouped_by_what_can_be_seen_of_them(text, cores):
    assert [cluster.cores for cluster in parse_clusters(text)] == cores


@pytest.mark.parametrize("text", ["", "no such file", "[ro.product.model]: [x]", "[a]: [b"])
def test_a_phone_that_tells_too_little_is_refused(text):
    with pytest.raises(DeviceError, match="does not tell"):
        phone_facts(parse_properties(text), (), "asked")
