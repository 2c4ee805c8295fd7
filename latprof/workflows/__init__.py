"""One function a command, each in the module of its name; :mod:`latprof` hands them on.

A workflow takes plain Python values, checks which of them go together, does the work and returns a
record. It prints nothing: progress and remarks go to callbacks. This package itself hands nothing
on, since a function and its module share a name: ``latprof.predict`` is the function.
"""
