"""Expected latency, differentiable in probabilities."""
