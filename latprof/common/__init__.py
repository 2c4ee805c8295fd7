"""What every room uses: atomic files, checked JSON, lazy names."""
