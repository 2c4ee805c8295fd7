"""The bias of each measuring process, estimated apart from the networks it visited.

Where a process's memory lies makes it faster or slower towards its reference than other processes,
by a fraction of a percent on a quiet host and by more than one on a busy one, for all networks that
it visits alike. A campaign visits every network in several processes and many networks in each, so
both can be estimated: the logarithm of a visit's ratio is the network's, plus the process's,
plus noise (two-way analysis of variance, with bounded influence: Huber, "Robust Statistics", 1981,
section 7.8).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.errors import InvalidValueError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

#: A process with fewer visits (to networks that others visited too) is left as it is: its effect
#: would be estimated no better than the noise that is to be removed.
FEWEST_VISITS = 10
#: Residuals beyond so many standard deviations count as if they were there (Huber's constant).
_BOUND = 1.345
_POLISHES = 4
#: A step divides what is left by about the number of visits to a network.
_MOST_STEPS = 100
_TOLERANCE = 1e-6


def process_effects(networks: ArrayLike, processes: ArrayLike, ratios: ArrayLike) -> NDArray[Any]:
    """How far each visit is off because of the process that made it, as a factor near 1.

    Parameters
    ----------
    networks, processes : array of shape (n,)
        What was visited (any hashable values) and which process did it.
    ratios : array of shape (n,)
        The visits' ratios to the reference, above 0.

    Returns
    -------
    array of shape (n,)
        ``ratios`` divided by it are free of what a process has in common. The factors of processes
        that networks connect with one another are 1 in the geometric mean over the visits that they
        are estimated from, so the level of the ratios stays. 1 for a process that made fewer than
        :data:`FEWEST_VISITS` visits to networks that other processes visited too.

    Raises
    ------
    InvalidValueError
        For arrays of unequal lengths or a ratio that is not above 0.
    """
    values = np.asarray(ratios, dtype=np.float64)
    network, process = (
        np.unique(np.asarray(names), return_inverse=True)[1] for names in (networks, processes)
    )
    if values.ndim != 1 or not values.shape == network.shape == process.shape:
        raise InvalidValueError("visits need one network, one process and one ratio each")
    if not np.all(np.isfinite(values) & (values > 0)):
        raise InvalidValueError("a ratio is not above 0", field="ratios")
    if not len(values):
        return np.ones(0)
    counted = np.ones(len(values), dtype=np.bool_)
    while True:
        # Processes that drop out may leave networks that only one process visited.
        usable = counted & _visited_by_others(network, process, counted)
        counts = np.bincount(process[usable], minlength=process.max() + 1)
        usable &= (counts >= FEWEST_VISITS)[process]
        if np.array_equal(usable, counted):
            break
        counted = usable
    effects = np.zeros(len(counts))
    if counted.any():
        effects = _effects(network[counted], process[counted], np.log(values[counted]), len(counts))
    return np.exp(effects)[process]


def _visited_by_others(
    network: NDArray[np.intp], process: NDArray[np.intp], among: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which visits are to networks that at least two processes visited, among some visits."""
    pairs = np.unique(np.stack([network[among], process[among]]), axis=1)
    return (np.bincount(pairs[0], minlength=network.max() + 1) > 1)[network]


def _effects(
    network: NDArray[np.intp], process: NDArray[np.intp], logarithms: NDArray[Any], number: int
) -> NDArray[Any]:
    """Alternate the two fits with Huber weights; shape (number,), 0 where not identifiable.

    Medians come first: they put a process that is far off where it belongs, so that its visits are
    not taken for outliers, all of them.
    """
    of_process = np.zeros(number)
    for _ in range(_POLISHES):
        of_network = _medians(network, logarithms - of_process[process])
        medians = _medians(process, logarithms - of_network[network])
        of_process[: len(medians)] = medians
    per_network = np.maximum(np.bincount(network), 1)
    counts = np.bincount(process, minlength=number)
    for _ in range(_MOST_STEPS):
        residuals = _bounded(logarithms - of_network[network] - of_process[process])
        of_network += np.bincount(network, residuals, minlength=len(per_network)) / per_network
        residuals = _bounded(logarithms - of_network[network] - of_process[process])
        step = np.bincount(process, residuals, minlength=number) / np.maximum(counts, 1)
        of_process += step
        if np.abs(step).max() < _TOLERANCE:
            break
    # Nothing compares processes that no network connects: each group of them keeps its level.
    group = _connected(network, process, number)
    visits = np.bincount(group, counts, minlength=number)
    levels = np.bincount(group, counts * of_process, minlength=number) / np.maximum(visits, 1)
    of_process -= levels[group]
    of_process[counts == 0] = 0.0
    return of_process


def _connected(
    network: NDArray[np.intp], process: NDArray[np.intp], number: int
) -> NDArray[np.intp]:
    """The group of each process, shape (number,): the least number that networks lead to."""
    group = np.arange(number)
    while True:
        least = np.full(network.max() + 1, number)
        np.minimum.at(least, network, group[process])
        found = group.copy()
        np.minimum.at(found, process, least[network])
        if np.array_equal(found, group):
            return group
        group = found


def _medians(group: NDArray[np.intp], values: NDArray[Any]) -> NDArray[Any]:
    """Median of the values of each group; 0 for a number that no value has."""
    order = np.lexsort((values, group))
    counts = np.bincount(group)
    starts = np.cumsum(counts) - counts
    found = np.zeros(len(counts))
    some = counts > 0
    sorted_values = values[order]
    low, high = (starts + (counts - 1) // 2)[some], (starts + counts // 2)[some]
    found[some] = (sorted_values[low] + sorted_values[high]) / 2
    return found


def _bounded(residuals: NDArray[Any]) -> NDArray[Any]:
    bound = _BOUND * 1.4826 * float(np.median(np.abs(residuals)))
    return np.clip(residuals, -bound, bound) if bound > 0 else residuals
