"""What does a proxy accept, and what becomes of it? Outbound, inbound and gateways."""
