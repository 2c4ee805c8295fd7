"""What each operator of a graph has to do: handlers that count multiply-accumulates."""
