"""Latencies of networks from their operators and kernels."""
