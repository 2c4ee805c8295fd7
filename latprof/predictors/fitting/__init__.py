"""Mathematics that knows no predictor: ridge, trees, grids, priors, intervals."""
