"""What values a model's inputs may have, told from its graph."""
