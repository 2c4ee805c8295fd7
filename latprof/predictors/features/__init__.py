"""Numbers that describe architectures to predictors."""
