"""Many networks, each visited several times, into a store."""
