"""From measured architectures to a pack."""
