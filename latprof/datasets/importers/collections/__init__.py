"""The public collections that importers read, one module each."""
