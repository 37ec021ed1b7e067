"""What does a proxy have, and what do we say next? The two forms of the discovery protocol, as machines without I/O."""
