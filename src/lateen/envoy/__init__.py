"""What does Envoy understand? The only package that touches protobuf; ``bootstrap`` and ``wellknown`` do without."""
