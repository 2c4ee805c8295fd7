"""Packs with errors in them are refused, or change nothing: ``python -m benchmarks.mutations``.

``python -m tests.fuzz packs`` does the same and resumes; :mod:`tests.fuzz.pack_mutants` says how.
"""

from tests.fuzz.pack_mutants import main

if __name__ == "__main__":
    main()
