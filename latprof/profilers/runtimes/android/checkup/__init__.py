"""What spoils timings on a phone, and a record of its answers."""
