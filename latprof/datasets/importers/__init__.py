"""Importers of public latency data: each reads the original files from a path the user gives."""
