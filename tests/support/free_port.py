"""A port of this computer that nobody listens on."""

import socket


def free_port() -> int:
    """Its number: another one each time, also for test processes side by side."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
