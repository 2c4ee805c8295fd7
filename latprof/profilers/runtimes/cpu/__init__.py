"""Runtimes on this computer's processor."""
