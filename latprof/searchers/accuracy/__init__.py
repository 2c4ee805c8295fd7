"""Where the accuracies of a search come from."""
