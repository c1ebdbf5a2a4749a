"""`Promise`: what the driver of a run keeps once, and any thread or loop may wait for."""

from __future__ import annotations

from concurrent.futures import Future

__all__ = ["Promise"]


class Promise(Future[None]):
    """A future that those who wait for it cannot cancel, and that says without a lock whether it is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.is_kept = False
        self.set_running_or_notify_cancel()

    def keep(self, error: BaseException | None = None) -> None:
        """Let those who wait go on, or raise *error* there."""
        self.is_kept = True
        if error is None:
            self.set_result(None)
        else:
            self.set_exception(error)
