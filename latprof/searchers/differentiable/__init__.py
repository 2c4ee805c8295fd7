"""Searches by gradient; they need torch."""
