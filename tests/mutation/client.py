"""Asks the runner for the tests of a module and ends with their exit code: `client.py SOCKET MODULE`."""

from __future__ import annotations

import socket
import sys


def ask(address: str, module: str) -> tuple[int, str]:
    """The exit code of the tests of a module and what they printed."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        connection.sendall(f"{module}\n".encode())
        with connection.makefile(encoding="utf-8", errors="replace") as answer:
            return int(answer.readline()), answer.read()


if __name__ == "__main__":
    code, printed = ask(*sys.argv[1:])
    sys.stdout.write(printed)
    sys.exit(code)
