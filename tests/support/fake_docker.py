"""As much of the Docker Engine API as a platform needs, on a socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Row = dict[str, Any]


class FakeDocker:
    """Containers by id, and the images that there are."""

    def __init__(self) -> None:
        self.containers: dict[str, Row] = {}
        self.images = {"shop:1.0", "shop:2.0"}
        self.status = "Up 1 second"
        self.requests: list[str] = []
        self.made = 0

    def answer(self, method: str, target: str, body: Any) -> tuple[int, Any]:
        url = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        parts = url.path.strip("/").split("/")
        self.requests.append(f"{method} {url.path}")
        match method, parts:
            case "GET", ["containers", "json"]:
                [label] = json.loads(query["filters"])["label"]
                key, _, value = label.partition("=")
                rows = [r for r in self.containers.values() if r["Labels"].get(key) == value]
                return 200, rows
            case "POST", ["containers", "create"]:
                if body["Image"] not in self.images:
                    return 404, {"message": f"No such image: {body['Image']}"}
                if any(r["Names"] == [f"/{query['name']}"] for r in self.containers.values()):
                    return 409, {"message": "the name is in use"}
                self.made += 1
                row = {"Names": [f"/{query['name']}"], "State": "created", "Status": "Created"}
                self.containers[f"c{self.made}"] = {**body, **row, "Id": f"c{self.made}"}
                return 201, {"Id": f"c{self.made}", "Warnings": []}
            case _, ["containers", name, *_] if name not in self.containers:
                return 404, {"message": f"No such container: {name}"}
            case "POST", ["containers", name, "start"]:
                self.containers[name] |= {"State": "running", "Status": self.status}
                return 204, None
            case "POST", ["containers", name, "stop"]:
                self.containers[name] |= {"State": "exited", "Status": "Exited (0)"}
                return 204, None
            case "DELETE", ["containers", name]:
                del self.containers[name]
                return 204, None
            case _:
                return 500, "a page"

    @contextlib.asynccontextmanager
    async def serving(self, socket: Path) -> AsyncGenerator[None]:
        """Answer on *socket*."""
        conversations: set[Any] = set()

        async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            conversations.add(asyncio.current_task())
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, target, _ = head.split("\r\n")[0].split()
            sizes = [int(h[15:]) for h in head.split("\r\n") if h.startswith("Content-Length:")]
            body = await reader.readexactly(sizes[0]) if sizes and sizes[0] else b"null"
            status, found = self.answer(method, target, json.loads(body))
            text = b"" if found is None else json.dumps(found).encode()
            said = f"HTTP/1.1 {status} Said\r\nContent-Length: {len(text)}\r\n\r\n"
            writer.write(
                (said if status != 204 else "HTTP/1.1 204 No Content\r\n\r\n").encode() + text
            )
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

        try:
            async with await asyncio.start_unix_server(converse, socket):
                yield
        finally:
            if conversations:
                await asyncio.wait(conversations, timeout=5)
