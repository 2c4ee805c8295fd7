"""Measuring on phones: the targets, their runner, and the state of the phone around a visit."""
