"""The predictors, one module each."""
