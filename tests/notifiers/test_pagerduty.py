"""PagerDuty, against a server that plays its Events API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pyflow.errors import DefinitionError
from pyflow.notifiers import PagerDuty
from pyflow.secrets import Secret
from pyflow.testing.contracts.notifier import messages_of
from pyflow.testing.servers import PagerDutyServer, Reply
from support.notices import RUN, message, send, sent


@pytest.fixture
def pager() -> Iterator[PagerDutyServer]:
    with PagerDutyServer() as server:
        yield server


def service(server: PagerDutyServer, **options: Any) -> PagerDuty:
    given: dict[str, Any] = {"routing_key": server.routing_key, **options}
    return PagerDuty(**given, base_url=server.base_url, allow_private=True)


class TestPagerDuty:
    def test_changes(self, pager: PagerDutyServer) -> None:
        """A deployment is a change event at its start and at its end, and pages nobody."""
        found = send(service(pager), message(), message("task_failed"), message("rolled_back"))

        assert [one.status for one in found] == ["delivered"] * 3
        assert [c["payload"]["summary"].rpartition(" ")[2] for c in pager.changes] == [
            "started",
            "rolled_back",
        ]
        assert pager.alerts == []
        assert "nothing that PagerDuty is told" in found[1].detail

    def test_alert(self, pager: PagerDutyServer) -> None:
        """A rollback that fails is one incident, and is resolved once it has been done after all."""
        notifier = service(pager)

        found = send(notifier, message("undo_failed"), message("rollback_failed", number=2))
        key = f"pyflow/{RUN.id}"

        assert pager.incidents == {key: "triggered"}
        assert len(pager.alerts) == 2

        again = sent(notifier, message("rolled_back", number=3), receipt=found[1].receipt)

        assert pager.incidents == {key: "resolved"}
        assert again.receipt == {"alert": None}

    def test_limits(self, pager: PagerDutyServer) -> None:
        """Whatever a message holds, PagerDuty takes the event."""
        found = send(service(pager), *messages_of("r"))

        assert {one.status for one in found} == {"delivered"}

    @pytest.mark.parametrize(
        ("reply", "status"),
        [
            (Reply(400, {"status": "invalid event", "errors": ["x"]}), "rejected"),
            (Reply(429, ""), "retrying"),
            (Reply(500, ""), "unknown"),
            (Reply(503, ""), "retrying"),
            (Reply(202, ""), "unknown"),
            (Reply(200, "<html>"), "rejected"),
        ],
    )
    def test_answers(self, pager: PagerDutyServer, reply: Reply, status: str) -> None:
        """Every documented answer is told apart, and a wrong body is no success."""
        assert sent(service(pager.will(reply))).status == status

    def test_wrong_key(self, pager: PagerDutyServer) -> None:
        """A key of no service is refused, and is not shown."""
        found = sent(service(pager, routing_key="f" * 31 + "0"))

        assert found.status == "rejected"
        assert "f" * 31 not in found.detail + repr(service(pager, routing_key="f" * 31 + "0"))

    def test_no_key(self, pager: PagerDutyServer) -> None:
        """A key that cannot be fetched now may be there later."""
        key = Secret.from_env("NOT_SET_ANYWHERE")

        assert sent(service(pager, routing_key=key)).status == "retrying"

    def test_resolve_fails(self, pager: PagerDutyServer) -> None:
        """A resolution that does not arrive is tried again, before anything else is said."""
        pager.will(Reply(503))

        found = sent(service(pager), message("rolled_back"), receipt={"alert": "pyflow/x"})

        assert found.status == "retrying"
        assert pager.changes == []

    def test_arguments(self) -> None:
        """A key that is none, and a source that is no text, are refused."""
        with pytest.raises(DefinitionError, match="2 problems"):
            PagerDuty("", source="a\nb")
