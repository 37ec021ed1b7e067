"""Defaults of the built-in kinds, one module for each group; ``skiff.apiserver.builtin`` has the table."""
