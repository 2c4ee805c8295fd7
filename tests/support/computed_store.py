"""A store as ``latprof collect`` leaves it, its times computed and not measured.

What reads a store is tested on it: nothing in such a test can depend on how busy this machine is.
The target, reference, plan and visits are those of the command that :data:`COLLECT` spells, so
that the same command finds everything done.
"""

import dataclasses

import numpy as np

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.measurement.labels import freeze_reference
from latprof.measurement.records import (
    KernelProfile,
    KernelTime,
    PairedProtocol,
    PairedSamples,
)
from latprof.measurement.store.store import Store
from latprof.measurement.visits import Measurement
from latprof.profilers.base import RunOptions
from latprof.profilers.campaign.collection import Collection
from latprof.profilers.host.checks import run_checks
from latprof.profilers.host.facts import host_facts
from latprof.profilers.visits.network_source import reference_network

#: What would have measured it.
COLLECT = "collect --space proxyless --resolution 64 --visits 2 -n 14 --ops -q".split()
REFERENCE_MS = 3.5
#: Noise of a process and of a load, as fractions: those of a quiet server.
PROCESS_NOISE, LOAD_NOISE, RUN_NOISE = 0.01, 0.005, 0.002
START = 1_790_000_000.0


def fill_store(path, n=14, resolution=64, visits=2, **rest):
    """Write the store of so many sampled architectures; return its path."""
    space = ProxylessSpace(resolution=resolution)
    protocol = PairedProtocol(visits=visits)
    collection = Collection.of_space(space, n, options=RunOptions(), protocol=protocol)
    return fill_store_of(path, collection, space, **rest)


def fill_store_of(path, collection, space, repeat_fraction=0.05, seed=0):
    """Write the store of a collection of the space's architectures; return its path."""
    options, protocol = collection.options, collection.protocol
    plan = collection.plan(ops=True, repeat_fraction=repeat_fraction)
    target = collection.identity()
    name, _ = reference_network(collection.reference_resolution)
    host = {"facts": host_facts(), "checks": [dataclasses.asdict(check) for check in run_checks()]}
    generator = np.random.default_rng(seed)
    started = START
    with Store.open(path, create=True) as store:
        store.add_target(target, name)
        campaign = store.start_campaign(target, dict(plan.source), protocol.to_dict(), host)
        for tasks in plan.passes():
            process = f"computed/{started:.0f}/1"
            bias = 1 + PROCESS_NOISE * generator.standard_normal()
            for task in tasks:
                started += 0.2
                latency = _latency_ms(space, task.network.subject, options.batch_size) * bias
                latency *= 1 + LOAD_NOISE * generator.standard_normal()
                store.add(
                    Measurement(
                        subject=task.network.subject,
                        target=target,
                        label=task.label,
                        visit=task.number,
                        started_at=started,
                        wall_s=0.2,
                        load_s=0.02,
                        process=process,
                        samples=_samples(latency, protocol.rounds, generator),
                        conditions={"before": {"load1": 0.1}, "after": {"load1": 0.1}},
                    ),
                    campaign,
                )
        for network in plan.networks:
            kernels = _kernels(space, network.subject, options.batch_size)
            latency = sum(kernel.latency_ms for kernel in kernels)
            profile = KernelProfile(
                kernels, _samples(latency * 1.02, protocol.rounds, generator), started, process
            )
            store.add_kernels(network.subject, target, profile)
        store.end_campaign(campaign)
        freeze_reference(store, target)
    return path


def _operators(space, subject, batch_size):
    return space.operators(space.parse(subject.key), batch_size)


def _operator_ms(operator):
    """A start of a microsecond, and the larger of 20 GMAC/s and 4 GB/s."""
    moved = 4 * (operator.parameters + sum(np.prod(shape) for shape in operator.output_shapes))
    return 1e-3 + max(operator.macs / 20e6, moved / 4e6)


def _latency_ms(space, subject, batch_size):
    return 0.01 + sum(map(_operator_ms, _operators(space, subject, batch_size)))


def _kernels(space, subject, batch_size):
    return tuple(
        KernelTime(
            position=position,
            kind=operator.kind,
            name=operator.name,
            operators=(operator.name,),
            latency_ms=_operator_ms(operator),
            input_shapes=tuple(map(tuple, operator.input_shapes)),
            output_shapes=tuple(map(tuple, operator.output_shapes)),
        )
        for position, operator in enumerate(_operators(space, subject, batch_size))
    )


def _samples(latency_ms, rounds, generator, runs=4):
    """Bursts of five runs, the first of each slower; the clock drifts a little."""

    def burst(ms):
        durations = ms * (1 + RUN_NOISE * np.abs(generator.standard_normal(1 + runs)))
        return (1.2 * durations[0], *durations[1:].tolist())

    return PairedSamples(
        tuple(burst(latency_ms) for _ in range(rounds)),
        tuple(burst(REFERENCE_MS) for _ in range(rounds + 1)),
    )
