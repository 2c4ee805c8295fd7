"""Fitting models of kernels and networks to tables of timed kernels."""
