"""Measured data sets that come with latprof, and how a store becomes one."""
