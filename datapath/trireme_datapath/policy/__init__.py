"""The policy: its model, its file, its compiled form and its explanation."""
