"""The statistics that judges stand on: pure functions of numbers, the standard library alone."""
