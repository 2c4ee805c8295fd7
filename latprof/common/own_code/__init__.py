"""A user's own code: how it is found, and what it is known by."""
