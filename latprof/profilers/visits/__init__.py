"""One visit to one network, and the process that makes it."""
