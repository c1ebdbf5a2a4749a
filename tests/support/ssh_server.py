"""A real sshd on a free port, with keys of its own, and the configuration that reaches it."""

from __future__ import annotations

import getpass
import subprocess
from pathlib import Path

from support.proxies import Proxy, free_port, program

SSHD = """
Port {port}
ListenAddress 127.0.0.1
HostKey {root}/host_key
AuthorizedKeysFile {root}/key.pub
PidFile {root}/sshd.pid
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
"""
CLIENT = """
Host web-*
    HostName 127.0.0.1
    Port {port}
    User {user}
    IdentityFile {root}/key
    IdentitiesOnly yes
    UserKnownHostsFile {root}/known_hosts
    StrictHostKeyChecking yes
    HostKeyAlias web
Host gone
    HostName 127.0.0.1
    Port 1
"""


class SSHServer(Proxy):
    """An sshd that lets the present user in, by a key."""

    def __init__(self, root: Path) -> None:
        port = free_port()
        binary = program("sshd", "openssh-server")
        for key in ("host_key", "key"):
            argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(root / key)]
            subprocess.run(argv, check=True)
        host_key = (root / "host_key.pub").read_text()
        (root / "known_hosts").write_text(f"web {host_key}")
        (root / "sshd_config").write_text(SSHD.format(port=port, root=root))
        self.config = root / "ssh_config"
        self.config.write_text(CLIENT.format(port=port, root=root, user=getpass.getuser()))
        Path("/run/sshd").mkdir(exist_ok=True)  # where it gives up its privileges; Debian's
        super().__init__([binary, "-D", "-e", "-f", str(root / "sshd_config")], port)
