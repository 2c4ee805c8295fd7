"""Pages of ``dumpsys thermalservice`` in which every value says where it stands.

Values of the current temperatures have an even last digit, all others an odd one: whatever the
parser takes for a temperature from another place, or of an electrical kind, is seen at once.
"""

import random

from phone_profiles import PROFILES

from latprof.profilers.runtimes.android.thermals import parse_thermals
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
        sections.insert(chance.randint(0, len(sections)), lines)
    text = "\n".join(line for section in sections for line in section) + "\n"
    return text, truth


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
