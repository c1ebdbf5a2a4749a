"""The one record of a run: its vocabulary, its form on disk, its reading."""
