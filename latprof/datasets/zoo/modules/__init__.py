"""Random modules of exported networks, as people's own code has them, a module for each kind."""
