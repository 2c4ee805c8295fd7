"""Files of other projects, read within limits and never trusted."""
