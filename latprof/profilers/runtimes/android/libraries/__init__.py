"""Runtime libraries for phones: taken from a file or an address, checked."""
