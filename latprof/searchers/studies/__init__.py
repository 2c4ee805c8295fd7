"""Studies that compare networks across scales, targets and blocks."""
