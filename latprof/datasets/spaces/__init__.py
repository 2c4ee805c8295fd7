"""Search spaces, one module each, and their contract."""
