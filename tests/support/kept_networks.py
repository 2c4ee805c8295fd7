"""Networks of a space for campaigns with computed times, each built once and not for each visit."""

from dataclasses import replace

from latprof.profilers.visits.network_source import NetworkSource


def networks_of(space, count, seed=0):
    """So many sampled networks; their models are kept for as long as the space lives."""
    return [kept(space, architecture) for architecture in space.sample(count, seed=seed)]


def kept(space, architecture):
    """The network of an architecture, whose model is kept as that of a user's own space is."""
    return replace(NetworkSource.of_architecture(space, architecture), space=space)
