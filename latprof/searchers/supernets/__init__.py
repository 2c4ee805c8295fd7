"""Networks that hold all candidates, what they are trained on, and how their weights learn."""
