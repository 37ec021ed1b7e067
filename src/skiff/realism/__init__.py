"""What does a busy API server of a real cluster do to its clients? ``skiff start --realistic`` does it, by a seed."""
