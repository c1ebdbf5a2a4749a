"""Evidence that a record is what was written: keys, anchors, and verdicts."""
