"""Messages generated from ../demo.proto: ``python -m grpc_tools.protoc -Iboutique/pb=src/boutique --python_out=src boutique/pb/demo.proto``."""
