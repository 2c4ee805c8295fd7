"""What others took of a measurement, and what the quiet host would have given."""
