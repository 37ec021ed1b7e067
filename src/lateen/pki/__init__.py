"""What does the CA sign, for whom, and for how long? Certificates as pure functions."""
