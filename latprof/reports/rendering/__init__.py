"""From the content of a report to HTML and pictures."""
