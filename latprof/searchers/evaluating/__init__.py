"""Searches that evaluate one architecture after another."""
