"""Binds the page to an address of this machine and serves it until it is interrupted."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from ipaddress import ip_address
from threading import Thread

from browsing.app import application
from inference.reasons import Reasons
from schemas.contract import ContractError
from schemas.paths import without_password
from schemas.settings import Settings


def bound(host: str, port: int, token: str | None) -> socket.socket:
    """A socket that listens. Raises ContractError if it cannot, or if others could read the page without a token."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        if token is None and not ip_address(str(address[0])).is_loopback:
            raise ContractError(
                f"--host {host} lets other machines read the tables; give --token, which each reader is asked for once"
            )
        return socket.create_server((str(address[0]), port), family=family)
    except OSError as error:
        raise ContractError(
            f"--host {host} --port {port}: {str(error.strerror).partition(' (')[0]}; give others"
        ) from error


@contextmanager
def running(config: Settings) -> Iterator[str]:
    """The address of the page while a thread of this process serves it, for browsers that a program steers."""
    import uvicorn

    with bound("127.0.0.1", 0, None) as listening:
        server = uvicorn.Server(uvicorn.Config(application(config), log_level="warning"))
        thread = Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def serve(config: Settings, host: str, port: int, token: str | None, reasons: Reasons | None) -> None:
    """Serve the page until Ctrl-C. Raises ContractError as `bound` does."""
    import uvicorn

    with bound(host, port, token) as listening:
        shown = f"[{host}]" if ":" in host else host
        asks = "" if token is None else " (asks for the token)"
        address = f"http://{shown}:{listening.getsockname()[1]}"
        print(f"{address} shows {without_password(config.warehouse)}{asks}; Ctrl-C ends it", flush=True)
        # No log of addresses: they hold ids of users and, once, the token.
        settings = uvicorn.Config(
            application(config, token, reasons), log_level="warning", access_log=False, server_header=False
        )
        # MLflow takes seconds to import: not when somebody first asks for the models.
        Thread(target=import_module, args=("training.registry",), daemon=True).start()
        uvicorn.Server(settings).run(sockets=[listening])
