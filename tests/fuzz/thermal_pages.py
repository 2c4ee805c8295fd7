"""Pages of ``dumpsys thermalservice`` and ``battery`` in which every value says where it stands.

Values of the current temperatures have an even last digit, all others an odd one: whatever the
parser takes for a temperature from another place, or of an electrical kind, is seen at once. Among
them are lines that Android does not print: other units, other writing, more fields. Clocks of cores
are read from what no kernel should print, too.
"""

import random

from phone_profiles import PROFILES

from latprof.profilers.runtimes.android.phone_facts import parse_clusters
from latprof.profilers.runtimes.android.state import parse_state
from latprof.profilers.runtimes.android.thermals import parse_battery, parse_thermals
from tests.fuzz.outcomes import BAD

TEMPERATURES = (0, 1, 2, 3, 4, 5, 9)
ELECTRICAL = (-1, 6, 7, 8)
CURRENT = "Current temperatures from HAL:"
OTHERS = (
    "Cached temperatures:",
    "Cached temperatures (2):",
    "Temperature headroom thresholds:",
    "Current cooling devices from HAL:",
    "HAL connection:",
    "Recent throttling events",
    "ThermalEventListeners: 2",
)
#: As no phone with Android's own service prints a temperature: all odd, so that none is taken.
STRANGE = (
    "Temperature{mValue=33,5, mType=3, mName=skin, mStatus=0}",
    "Temperature{mValue=33500.0, mType=3, mName=skin, mStatus=0}",
    "Temperature{mValue=-33.5, mType=3, mName=skin, mStatus=0}",
    "Temperature{mValue=129.5, mType=3, mName=skin, mStatus=0, mFilter=1}",
    "Temperature{value: 129.5, type: SKIN, name: skin, throttlingStatus: NONE}",
    "Temperature{mValue=129.5 C, mType=3, mName=skin, mStatus=0}",
    "Temperature{mValue=NaN, mType=3, mName=skin, mStatus=0}",
)
#: Of makers, below Android's own lines of a battery.
BATTERY_MORE = ("temperature: 1295", "voltage: 4211", "status: 9", "level: 5", "current now: -315")


def sensor(chance, kind, *, current):
    """One line, and its value."""
    value = f"{chance.randint(1, 129)}.{chance.choice('02468' if current else '13579')}"
    name = chance.choice(("skin", "VIRTUAL-SKIN", "ocp_cpu2", "vbat", "battery", "a, b", "x=1", ""))
    blank = chance.choice(("\t", "", "  "))
    status = chance.randint(0, 6)
    facts = f"mValue={value}, mType={kind}, mName={name}, mStatus={status}"
    return f"{blank}Temperature{{{facts}}}", float(value)


def page(chance):
    """A page, and the current temperatures by their kinds."""
    sections, truth = [], []
    for title in chance.sample(OTHERS, chance.randint(0, len(OTHERS))):
        kinds = [chance.choice((*TEMPERATURES, *ELECTRICAL)) for _ in range(chance.randint(0, 4))]
        sections.append([title, *(sensor(chance, k, current=False)[0] for k in kinds)])
    if chance.random() < 0.9:
        lines = [CURRENT]
        for _ in range(chance.randint(0, 8)):
            kind = chance.choice((3, *TEMPERATURES, *ELECTRICAL))
            line, value = sensor(chance, kind, current=kind in TEMPERATURES)
            lines.append(line)
            truth += [(kind, value)] if kind in TEMPERATURES else []
            lines += [chance.choice(STRANGE)] if chance.random() < 0.2 else []
        sections.insert(chance.randint(0, len(sections)), lines)
    text = "\n".join(line for section in sections for line in section) + "\n"
    return text, truth


def battery_is_right(chance):
    """Whether a page of a battery, with a maker's lines below, is read as what it says."""
    level, tenths = chance.randint(0, 100), chance.randrange(-200, 1400, 2)
    own = [f"level: {level}", "scale: 100", f"temperature: {tenths}", f"voltage: {tenths + 4001}"]
    chance.shuffle(own)
    stands = chance.random() < 0.2
    lines = ["Current Battery Service state:", *(["(UPDATES STOPPED -- use 'reset')"] * stands)]
    more = chance.sample(BATTERY_MORE, chance.randint(0, len(BATTERY_MORE)))
    found = parse_battery("\n  ".join([*lines, *own, *more]))
    if stands:
        return found.level_percent is None and found.celsius is None
    celsius = tenths / 10 if 10 <= tenths <= 1300 else None
    return (found.level_percent, found.celsius) == (level, celsius)


def cores_are_right(chance):
    """Whether no line of clocks makes two clusters of one core, or a clock of what is none."""
    words = (
        "1800000",
        "2800000",
        "<unknown>",
        "0",
        "-1",
        "1.8",
        "28000000000",
        "\u0662",
        "x y",
        "",
    )
    lists = ("0 1", "0-3", "2", "7 8 9", "63 64 65", "a", "", ": 1")
    lines = [
        f"{chance.randint(0, 70)} {chance.choice(words)} : {chance.choice(lists)}"
        for _ in range(chance.randint(0, 12))
    ]
    clusters = parse_clusters("\n".join(lines))
    cores = [core for cluster in clusters for core in cluster.cores]
    known = {None, 1_800_000, 2_800_000}
    clocks = "\n".join(f"{n} " + " ".join(chance.choices(words, k=4)) for n in range(8))
    seen = {
        value
        for core in parse_state({"clocks": clocks}).cores
        for value in (core.now_khz, core.limit_khz, core.largest_khz)
    }
    is_right = all(c.cores and c.largest_khz in known for c in clusters)
    return is_right and seen <= known and len(cores) == len(set(cores))


def damaged(chance, text):
    """The text cut, with a piece doubled, or with other characters somewhere."""
    a, b = sorted(chance.randrange(len(text) + 1) for _ in range(2))
    how = chance.randrange(3)
    if how == 0:
        return text[:a]
    if how == 1:
        return text[:b] + text[a:]
    return text[:a] + chance.choice(("\n", "}", "{", ":", "NaN", "\0", "é")) + text[b:]


def read(numbers, seed, _folder):
    """Read so many pages; yields whether what was read is true."""
    for number in numbers:
        chance = random.Random(f"{seed} {number}")
        if number % 10 == 9:  # a phone's own page, damaged
            profile = chance.choice([p for p in PROFILES.values() if p.thermals])
            known = {s.celsius for s in parse_thermals(profile.thermals).sensors}
            parse_thermals(damaged(chance, profile.thermals))
            cached = {37.0, 28.0, 30.0, 11900.0, 4210.0, 873.0} - known
            whole = {s.celsius for s in parse_thermals(profile.thermals + profile.thermals).sensors}
            bad = whole & cached
            yield "profile", *((BAD, f"{number}: {bad}") if bad else ("read", ""))
            continue
        if number % 10 in {7, 8}:
            kind, is_right = (("clocks", cores_are_right), ("battery", battery_is_right))[
                number % 10 - 7
            ]
            yield kind, *(("read", "") if is_right(chance) else (BAD, f"{number}"))
            continue
        text, truth = page(chance)
        if number % 3 == 2:
            found = parse_thermals(damaged(chance, text))
            strange = [s for s in found.sensors if s.kind not in TEMPERATURES]
            yield "damaged", *((BAD, f"{number}: {strange}") if strange else ("read", ""))
            continue
        found = parse_thermals(text)
        skin = max((value for kind, value in truth if kind == 3), default=None)
        right = [(s.kind, s.celsius) for s in found.sensors] == truth and found.skin_c == skin
        yield "whole", *(("read", "") if right else (BAD, f"{number}: {found}"))
