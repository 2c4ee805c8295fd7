"""Visits and latency labels as tables."""
