"""Files of models that are measured: their shapes and the values of their inputs."""
