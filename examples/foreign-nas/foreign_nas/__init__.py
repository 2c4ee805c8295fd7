"""A small differentiable search of its own; latencies come from latprof."""
