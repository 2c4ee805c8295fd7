"""One module a runtime, in one folder a kind of device."""
