"""Processes that latprof starts; none outlives the process that started it."""
