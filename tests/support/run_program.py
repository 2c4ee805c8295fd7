"""Becomes another program: what a child of ours runs that is no Python (``sys.argv[1:]``)."""

import os
import sys

os.execv(sys.argv[1], sys.argv[1:])
