"""Spaces made of others: in any size, or with blocks in two number formats."""
