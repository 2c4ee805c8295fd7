"""Packs: a fitted predictor in one file."""
