"""A graph's nodes as operators: what is known of each, and of the bodies that some have."""
