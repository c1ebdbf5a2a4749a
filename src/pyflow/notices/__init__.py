"""What to say about a run: pure functions from its records to messages."""
