"""What does the control plane count, under which names?"""
