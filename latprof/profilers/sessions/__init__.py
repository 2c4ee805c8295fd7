"""One session of a model in a process of its own: what it costs to load, and many at once."""
