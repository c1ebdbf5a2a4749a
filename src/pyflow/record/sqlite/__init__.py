"""The journal on disk: one SQLite file for the runs of one workspace, and its head beside it.

Nothing here is imported by ``import pyflow``; whoever wants a durable journal
imports `pyflow.record.sqlite.journal`. What guards against what:

- **SQLite** in WAL mode with ``synchronous=FULL``: a commit is there after a
  power cut, or is not there at all.
- **The chain** (`tip`): SQLite does not notice a changed byte. Every record
  carries its hash, and every row a hash over all rows up to it.
- **The head** (`head`): a file that was cut, emptied or put back from an old
  copy is a sound journal. A side file says where the journal ended.
- **The refusals** (`files`, `opening`): what is not a sound journal of ours
  is not opened, and not touched.
"""
