"""As much of HAProxy's runtime API as a router needs, on a socket, with replies like the real one's."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HEADER = (
    "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_port"
)


@dataclass
class Server:
    weight: int = 0
    admin: int = 0
    port: int = 1


@dataclass
class FakeHAProxy:
    """The servers of a backend called shop, and every command that came."""

    servers: dict[str, Server] = field(default_factory=dict[str, Server])
    commands: list[str] = field(default_factory=list[str])
    answer: Callable[[str], str | None] = lambda _: None
    """Says what a command is answered with instead; None for what is right."""

    hangs: bool = False
    busy: list[int] = field(default_factory=list[int])
    """How many requests a server has to answer, at one look after another; none after that."""

    def reply(self, line: str) -> str:
        return "".join(self.reply_to(command.strip()) for command in line.split(";"))

    def reply_to(self, command: str) -> str:
        self.commands.append(command)
        instead = self.answer(command)
        if instead is not None:
            return instead
        match command.split():
            case ["show", "servers", "state", "shop"]:
                rows = [
                    f"3 shop 1 {name} 127.0.0.1 2 {s.admin} {s.weight} {s.port}"
                    for name, s in self.servers.items()
                ]
                return "\n".join(["1", HEADER, *rows, "", ""])
            case ["show", "stat"]:
                scur = self.busy.pop(0) if self.busy else 0
                rows = [f"shop,{name},0,{scur}" for name in self.servers]
                return "\n".join(["# pxname,svname,qcur,scur", *rows, "", ""])
            case ["add", "server", path, address, "weight", weight, *_]:
                port = int(address.rpartition(":")[2])
                self.servers[self.name(path)] = Server(int(weight), 1, port)
                return "New server registered.\n\n"
            case ["enable", "health", path] if self.name(path) in self.servers:
                return "\n"
            case ["set", "server", path, "addr", _, "port", port] if (
                self.name(path) in self.servers
            ):
                there = self.servers[self.name(path)]
                before, there.port = there.port, int(port)
                return f"no need to change the addr, port changed from '{before}' to '{port}'\n\n"
            case ["set", "server", path, "weight", weight] if self.name(path) in self.servers:
                if not 0 <= int(weight) <= 256:
                    return "Absolute weight can only be between 0 and 256 inclusive.\n\n"
                self.servers[self.name(path)].weight = int(weight)
                return "\n"
            case ["set", "server", path, "state", state] if self.name(path) in self.servers:
                self.servers[self.name(path)].admin = {"ready": 0, "maint": 1, "drain": 8}[state]
                return "\n"
            case ["set" | "enable" | "del", *_]:
                return "No such server.\n\n"
            case ["show", *_]:
                return "Can't find backend.\n\n"
            case _:
                return "Unknown command.\n\n"

    def name(self, path: str) -> str:
        found = re.fullmatch(r"shop/(.+)", path)
        assert found, path
        return found[1]

    @contextlib.asynccontextmanager
    async def serving(self, socket: Path) -> AsyncGenerator[None]:
        """Answer on *socket*."""
        conversations: set[asyncio.Task[Any]] = set()

        async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            conversations.add(task)
            line = (await reader.readline()).decode().strip()
            if self.hangs:
                await reader.read(-1)
            else:
                writer.write(self.reply(line).encode())
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

        server = await asyncio.start_unix_server(converse, socket)
        try:
            async with server:
                yield
        finally:
            if conversations:
                await asyncio.wait(conversations, timeout=5)
