"""Networks in other forms: torch modules, TFLite models, other number formats."""
