"""The runner: a C program that measures where there is no Python, and the protocol to it."""
