"""Targets and stores beside one another."""
