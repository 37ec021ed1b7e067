"""Which parts make a program? Composition, no logic."""
