"""By which keys and words are things called? Values that everything above shares, without I/O."""
