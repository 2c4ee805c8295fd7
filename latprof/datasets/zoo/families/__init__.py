"""Networks of the zoo, a module for those that are built alike."""
