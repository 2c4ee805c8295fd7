"""Ways to a phone: through an adb server, or without any adb program."""
