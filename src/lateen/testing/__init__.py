"""What do tests need? Objects in short form, random meshes, and real Envoys in network namespaces. Nothing ships it."""
