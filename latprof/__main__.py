"""``python -m latprof``: the command line, where its script is not on the path."""

from latprof.cli.main import main

if __name__ == "__main__":
    main()
