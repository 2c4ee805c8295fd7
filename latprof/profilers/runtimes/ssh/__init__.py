"""Processors of other computers, reached through the user's own ``ssh``."""
