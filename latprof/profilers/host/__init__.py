"""What this host is, and what spoils timings on it."""
