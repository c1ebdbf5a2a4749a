"""As much of a Kubernetes API server as a router needs: objects, versions of them, conflicts."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Object = dict[str, Any]


class FakeKubernetes:
    """Objects by path. A patch with an old resourceVersion gets 409; one of JSON merges (RFC 7386)."""

    def __init__(self, objects: dict[str, Object], *, token: str | None = None) -> None:
        self.objects = {path: self._kept(one, 1) for path, one in objects.items()}
        self.token = token
        self.requests: list[str] = []
        self.meanwhile: Callable[[Object], object] | None = None
        """What somebody else does to an object after each time that it was read."""

    def _kept(self, one: Object, version: int) -> Object:
        return {**copy.deepcopy(one), "metadata": {"resourceVersion": str(version)}}

    def answer(self, method: str, path: str, body: Object | None, token: str) -> tuple[int, Object]:
        self.requests.append(method)
        if self.token is not None and token != f"Bearer {self.token}":
            return self._status(401, "Unauthorized")
        present = self.objects.get(path)
        if present is None:
            return self._status(404, f"{path} not found")
        if method == "GET":
            seen = copy.deepcopy(present)
            if self.meanwhile is not None:
                self.meanwhile(present)
                if present != seen:
                    self._touch(present)
            return 200, seen
        assert body is not None
        named = body.get("metadata", {}).get("resourceVersion")
        if named not in (None, present["metadata"]["resourceVersion"]):
            return self._status(409, "the object has been modified")
        merged = _merged(present, body)
        if merged != present:
            self._touch(merged)
        self.objects[path] = merged
        return 200, copy.deepcopy(merged)

    def _touch(self, one: Object) -> None:
        one["metadata"]["resourceVersion"] = str(int(one["metadata"]["resourceVersion"]) + 1)

    def _status(self, code: int, message: str) -> tuple[int, Object]:
        return code, {"kind": "Status", "status": "Failure", "message": message, "code": code}

    @contextmanager
    def serving(self) -> Generator[str]:
        """Answer on a free port; return the URL."""
        answer = self.answer

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.reply(None)

            def do_PATCH(self) -> None:
                assert self.headers["Content-Type"] == "application/merge-patch+json"
                self.reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def reply(self, body: Object | None) -> None:
                token = self.headers.get("Authorization", "")
                status, found = answer(self.command, self.path, body, token)
                text = json.dumps(found).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()
                thread.join()


def _merged(present: Any, change: Any) -> Any:
    if not isinstance(present, dict) or not isinstance(change, dict):
        return copy.deepcopy(change)
    merged = {key: value for key, value in present.items() if change.get(key, value) is not None}
    for key, value in change.items():
        if value is not None:
            merged[key] = _merged(present.get(key), value)
    return merged
