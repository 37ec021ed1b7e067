"""The shop inside the mesh, step by step, with a verdict for each step."""
