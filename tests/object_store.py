"""An S3 server on this machine (moto's), for tests and measurements. By hand:

python -m tests.object_store          # prints the settings that lead to it, then serves until Ctrl-C
"""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.request import ProxyHandler, build_opener

BUCKET = "marquee"
CARELESS = "careless"
"""A bucket that ignores conditions: it overwrites what a request only wants to create."""
_COUNTS = "/-/counts"
_PORT = 9000
_ROOT = Path(__file__).resolve().parent.parent
# A proxy from the environment cannot reach this machine.
_OPENER = build_opener(ProxyHandler({}))

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@dataclass(frozen=True)
class ObjectStore:
    """A server on this machine. Its address is taken from the beginning, also before it serves."""

    listener: socket.socket

    @classmethod
    def at(cls, port: int = 0) -> ObjectStore:
        """A server at a port, by default a free one."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        return cls(listener)

    @property
    def url(self) -> str:
        return "http://{}:{}".format(*self.listener.getsockname())

    @property
    def settings(self) -> dict[str, str]:
        """The variables of the AWS SDKs that lead to it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "marquee",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }

    def counts(self) -> Counter[str]:
        """Requests since the last call, by method, those with If-None-Match, and bytes `sent` and `received`."""
        with _OPENER.open(f"{self.url}{_COUNTS}") as answer:
            return Counter(json.load(answer))


@cache
def own_store() -> ObjectStore:
    """The server of this process, whoever asks: pytest imports conftest.py under two names."""
    return ObjectStore.at()


@contextmanager
def serving(store: ObjectStore) -> Iterator[None]:
    """Serve `store`, with the buckets BUCKET and CARELESS, in a process of its own that ends with the block."""
    command = [sys.executable, "-c", f"from {__name__} import serve; serve({store.listener.fileno()})"]
    process = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, pass_fds=[store.listener.fileno()])
    assert process.stdout is not None
    try:
        # Printed when it listens.
        process.stdout.readline()
        yield
    finally:
        process.terminate()
        process.wait()


class _Application:
    """moto as a WSGI application that counts requests, and decides conditions one request at a time, as S3 does: moto
    looks for an object and writes it in two steps.
    """

    def __init__(self, moto: Application) -> None:
        self.moto, self.lock = moto, Lock()
        self.counts: Counter[str] = Counter()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == _COUNTS:
            counts, self.counts = self.counts, Counter()
            start("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(counts).encode()]
        # Read before the lock is taken: a slow client must not hold up the others.
        chunked = "HTTP_TRANSFER_ENCODING" in environ
        sent = environ["wsgi.input"].read(-1 if chunked else int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = BytesIO(sent)
        conditional = int("HTTP_IF_NONE_MATCH" in environ)
        if environ["PATH_INFO"].startswith(f"/{CARELESS}/"):
            environ.pop("HTTP_IF_NONE_MATCH", None)
        with self.lock:
            answer = list(self.moto(environ, start))
            self.counts.update({environ["REQUEST_METHOD"]: 1, "sent": len(sent), "received": sum(map(len, answer))})
            self.counts["conditional"] += conditional
        return answer


def serve(fileno: int) -> None:
    """Serve for ever on a bound socket; print the settings that lead here."""
    from moto.moto_server.werkzeug_app import create_backend_app
    from werkzeug.serving import make_server
    from werkzeug.test import Client

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application = _Application(create_backend_app("s3"))
    for bucket in (BUCKET, CARELESS):
        Client(application).put(f"/{bucket}")
    store = ObjectStore(socket.socket(fileno=fileno))
    store.listener.listen()
    with make_server("127.0.0.1", 0, application, threaded=True, fd=fileno) as server:
        for name, value in {**store.settings, "MARQUEE_WAREHOUSE": f"s3://{BUCKET}/warehouse"}.items():
            print(f"export {name}={value}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    serve(ObjectStore.at(int(sys.argv[1]) if sys.argv[1:] else _PORT).listener.detach())
