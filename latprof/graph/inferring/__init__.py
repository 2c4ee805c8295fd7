"""Shapes inferred round by round, and sizes that are assumed where only a run tells them."""
