"""What a user writes, checked and frozen into a plan."""
