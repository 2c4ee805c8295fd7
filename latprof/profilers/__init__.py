"""How a network is timed: profilers, visits, campaigns."""
