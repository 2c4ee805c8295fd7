"""Each command, and a session of half a minute, under strace: sockets opened, names looked up."""

from network_calls import COMMANDS, calls_of_command, calls_of_session, make_place

from tests.fuzz.outcomes import BAD


def count(numbers, _seed, folder):
    """Commands by their numbers, and the session after the last; what became of each."""
    make_place(folder)
    for number in numbers:
        if number < len(COMMANDS):
            kind = COMMANDS[number].split()[0]
            calls, done = calls_of_command(COMMANDS[number], folder, folder)
        else:
            kind = "session"
            calls, done = calls_of_session("off", folder, folder)
        if calls or done.returncode not in {0, 1, 5}:
            yield kind, BAD, f"{kind}: {calls[:3]} {done.stderr[-300:]}"
        else:
            yield kind, "no look-up, no socket", ""
