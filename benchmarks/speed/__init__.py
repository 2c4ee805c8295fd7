"""How fast latprof's inner loops are, by pytest-benchmark."""
