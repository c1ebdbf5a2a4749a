"""Apprise, with a stand-in for the library: the real one is an extra."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from pyflow.errors import DefinitionError
from pyflow.notifiers import Apprise
from pyflow.secrets import Secret
from support.notices import message, sent


class Library(types.ModuleType):
    """As much of Apprise as is used: `Apprise().add(url)` and `.notify(...)`."""

    def __init__(self, *, took: Any = True) -> None:
        super().__init__("apprise")
        self.took = took
        self.calls: list[dict[str, Any]] = []
        self.urls: list[str] = []

    def Apprise(self) -> Library:
        return self

    def add(self, url: str) -> bool:
        self.urls.append(url)
        return url.startswith("json://")

    def notify(self, **call: Any) -> Any:
        self.calls.append(call)
        if isinstance(self.took, Exception):
            raise self.took
        return self.took


def installed(monkeypatch: pytest.MonkeyPatch, **options: Any) -> Library:
    library = Library(**options)
    monkeypatch.setitem(sys.modules, "apprise", library)
    return library


class TestApprise:
    def test_sends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Title, text, links and kind are handed over."""
        library = installed(monkeypatch)

        found = sent(Apprise([Secret("json://h.example/x")]), message("failed"))

        assert found.status == "delivered"
        assert library.urls == ["json://h.example/x"]
        assert library.calls[0]["title"] == "shop to production: failed"
        assert library.calls[0]["notify_type"] == "failure"
        assert "https://ci.example/runs/7" in library.calls[0]["body"]

    def test_success(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A run that succeeded is of the kind `success`, and a body is never empty."""
        library = installed(monkeypatch)

        sent(Apprise("json://h.example/x"), message("succeeded", text="", links=()))

        assert library.calls[0]["notify_type"] == "success"
        assert library.calls[0]["body"] == "shop to production: succeeded"

    @pytest.mark.parametrize("took", [False, OSError("hush json://h.example/x")])
    def test_trouble(self, monkeypatch: pytest.MonkeyPatch, took: Any) -> None:
        """What is not plainly a success is unknown, and is not sent to the others again."""
        installed(monkeypatch, took=took)

        found = sent(Apprise(["json://h.example/x"]))

        assert (found.status, found.again) == ("unknown", False)
        assert "hush" not in found.detail

    def test_no_service(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A URL of no service is final, and is not shown."""
        installed(monkeypatch)

        found = sent(Apprise(["nothing://h.example/x"]))

        assert found.status == "rejected"
        assert "h.example" not in found.detail + repr(Apprise(["nothing://h.example/x"]))

    def test_no_secret(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A URL that cannot be fetched now may be there later."""
        installed(monkeypatch)

        assert sent(Apprise([Secret.from_env("NOT_SET_ANYWHERE")])).status == "retrying"

    def test_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without the extra it says what to install, when it is made."""
        monkeypatch.setitem(sys.modules, "apprise", None)

        with pytest.raises(DefinitionError, match=r"pyflow-deploy\[apprise\]"):
            Apprise(["json://h.example/x"])

    def test_arguments(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """There is at least one URL, and each is text."""
        installed(monkeypatch)

        for urls in ([], [7], [""]):
            with pytest.raises(DefinitionError, match="urls="):
                Apprise(urls)  # type: ignore[arg-type]
