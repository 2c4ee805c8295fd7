"""What a phone is: its identity, and its clusters of cores."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from latprof.errors import DeviceError, InvalidValueError, did_you_mean
from latprof.profilers.runtimes.android.transport.base import START_ANEW

if TYPE_CHECKING:
    from collections.abc import Mapping

    from latprof.profilers.runtimes.android.transport.services import PhoneServices

#: Most cores of a phone, and most clusters; more is not believed.
_MOST_CORES = 64
_CORE = re.compile(r"(\d{1,3}) *([^: ]{0,32})[^:]{0,64}: *([^:]{0,400})", re.ASCII)
_LISTED = "`latprof devices` lists the phone's clusters"
_SMALL = re.compile(r"\d{1,9}", re.ASCII)
_PROPERTY = re.compile(r"^\[([^\[\]\s]{1,128})\]: \[([^\[\]\n]{0,512})\]$", re.MULTILINE)


@dataclass(frozen=True)
class Cluster:
    """Cores that share a clock: their numbers, and the largest clock in kHz (None: not visible)."""

    cores: tuple[int, ...]
    largest_khz: int | None


@dataclass(frozen=True)
class PhoneFacts:
    """A phone's identity, the same over cable and Wi-Fi.

    Parameters
    ----------
    serial : str
        ``ro.serialno``.
    maker, model, soc : str
        For example ``Google``, ``Pixel 6``, ``Tensor``.
    build : str
        ``ro.build.fingerprint``.
    android : str
        Version, for example ``14``; ``sdk`` is the API level.
    abis : tuple of str
        The first is the phone's own.
    clusters : tuple of Cluster
        From the lowest clock to the highest.
    """

    serial: str
    maker: str
    model: str
    soc: str
    build: str
    android: str
    sdk: int
    abis: tuple[str, ...]
    clusters: tuple[Cluster, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as plain JSON values."""
        return asdict(self) | {
            "abis": list(self.abis),
            "clusters": [
                {"cores": list(cluster.cores), "largest_khz": cluster.largest_khz}
                for cluster in self.clusters
            ],
        }

    def __str__(self) -> str:
        clusters = " + ".join(
            f"{len(cluster.cores)}x{cluster.largest_khz / 1e6:.2f} GHz"
            if cluster.largest_khz
            else f"{len(cluster.cores)} cores"
            for cluster in self.clusters
        )
        return f"{self.maker} {self.model} ({self.soc}, {clusters}, Android {self.android})"


def read_phone_facts(services: PhoneServices) -> PhoneFacts:
    """Ask a phone what it is; raises DeviceError where it does not say enough."""
    values = parse_properties(services.run(["getprop"]).stdout)
    script = (
        "for f in /sys/devices/system/cpu/cpu[0-9]*; do "
        'echo "${f##*/cpu} $(cat $f/cpufreq/cpuinfo_max_freq 2>/dev/null) :'
        ' $(cat $f/cpufreq/related_cpus 2>/dev/null)"; done'
    )
    clusters = parse_clusters(services.run(["sh", "-c", script]).stdout)
    return phone_facts(values, clusters, services.link.serial)


def phone_facts(values: Mapping[str, str], clusters: tuple[Cluster, ...], asked: str) -> PhoneFacts:
    """The facts that properties tell; ``asked`` names the phone in errors."""
    needed = ("ro.product.model", "ro.build.fingerprint")
    missing = [name for name in needed if not values.get(name)]
    if missing:
        raise DeviceError(f"{asked} does not tell its {' and '.join(missing)}", hint=START_ANEW)
    level = values.get("ro.build.version.sdk", "")
    abis = values.get("ro.product.cpu.abilist") or values.get("ro.product.cpu.abi", "")
    return PhoneFacts(
        serial=values.get("ro.serialno") or values.get("ro.boot.serialno") or asked,
        maker=values.get("ro.product.manufacturer", "unknown"),
        model=values["ro.product.model"],
        soc=next(
            (
                values[name]
                for name in ("ro.soc.model", "ro.board.platform", "ro.hardware")
                if values.get(name)
            ),
            "unknown",
        ),
        build=values["ro.build.fingerprint"],
        android=values.get("ro.build.version.release", "unknown"),
        sdk=int(level) if level.isascii() and level.isdigit() and len(level) < 5 else 0,
        abis=tuple(abi for abi in abis.split(",") if abi),
        clusters=clusters,
    )


def parse_properties(text: str) -> dict[str, str]:
    """Read what ``getprop`` printed: lines of ``[name]: [value]``."""
    return dict(_PROPERTY.findall(text.replace("\r\n", "\n")))


def parse_clusters(text: str) -> tuple[Cluster, ...]:
    """Group cores by the clock they share, from lines of ``CORE CLOCK : RELATED CORES``.

    Clusters of the same largest clock are apart where their related cores are; where those are not
    visible, cores of one largest clock are a cluster.
    """
    groups: dict[tuple[int, ...], int | None] = {}
    alone: dict[int, int | None] = {}
    for found in filter(None, (_CORE.fullmatch(line.strip()) for line in text.splitlines())):
        core, related = int(found[1]), {int(n) for n in found[3].split() if _SMALL.fullmatch(n)}
        clock = int(found[2]) or None if _SMALL.fullmatch(found[2]) else None
        if core < _MOST_CORES and core in related:
            groups.setdefault(tuple(sorted(n for n in related if n < _MOST_CORES)), clock)
        elif core < _MOST_CORES:
            alone[core] = clock
    rest = {core: alone[core] for core in alone.keys() - {n for cores in groups for n in cores}}
    for core, clock in rest.items():
        groups[tuple(sorted(n for n in rest if n == core or (clock and rest[n] == clock)))] = clock
    ordered = sorted(groups.items(), key=lambda item: (item[1] or 0, item[0]))
    return tuple(Cluster(cores, clock) for cores, clock in ordered)


def cores_for(word: str, threads: int, clusters: tuple[Cluster, ...]) -> tuple[int, ...]:
    """Numbers of the cores that ``big``, ``prime``, ``little`` or a list such as ``0,1`` names.

    ``prime`` is the cluster with the highest clock, ``little`` the one with the lowest; ``big`` is
    the fastest cluster of at least two cores that is not prime, or prime where there are fewer than
    three clusters. ``threads`` cores of it are taken.

    Raises InvalidValueError where there are no such cores, or fewer than ``threads``.
    """
    if re.fullmatch(r"\d{1,3}(,\d{1,3})*", word):
        chosen = tuple(dict.fromkeys(int(number) for number in word.split(",")))
        unknown = set(chosen) - {core for cluster in clusters for core in cluster.cores}
        if clusters and unknown:
            raise InvalidValueError(
                "the phone has no such core",
                field="cores",
                expected=", ".join(str(n) for c in clusters for n in c.cores),
                got=word,
                hint=_LISTED,
            )
    else:
        chosen = _cluster(word, clusters).cores
    if len(chosen) < threads:
        raise InvalidValueError(
            f"{word} has fewer cores than threads are asked for",
            field="cores",
            expected=f"at least {threads}",
            got=str(len(chosen)),
            hint=f"ask for fewer threads, or name more cores; {_LISTED}",
        )
    return chosen if re.match(r"\d", word) else chosen[:threads]


def _cluster(word: str, clusters: tuple[Cluster, ...]) -> Cluster:
    if not clusters or any(cluster.largest_khz is None for cluster in clusters):
        raise InvalidValueError(
            "the phone does not tell which cores are fast",
            field="cores",
            hint="name them by number: --cores 4,5",
        )
    little, prime = clusters[0], clusters[-1]
    others = [cluster for cluster in clusters[:-1] if len(cluster.cores) > 1]
    named = {
        "little": little,
        "prime": prime,
        "big": others[-1] if len(clusters) > 2 and others else prime,
    }
    if word not in named:
        raise InvalidValueError(
            "no such cores",
            field="cores",
            expected="big, prime, little or numbers",
            got=word[:40],
            hint=did_you_mean(word, named) or _LISTED,
        )
    return named[word]
