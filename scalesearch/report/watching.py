"""``scalesearch watch``: the page of a study, served to this machine alone and new whenever a trial ends.

The server listens on 127.0.0.1, answers GET alone, and only where the request names this machine as its host: a page of
somebody else's, whose name was made to mean 127.0.0.1 (DNS rebinding), gets nothing.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from scalesearch.errors import ScalesearchError, StudyError
from scalesearch.report.page.document import content_policy, embed, write_page
from scalesearch.report.page.payload import Payload
from scalesearch.report.page.reading import State, StudyReader
from scalesearch.report.page.writing import make_payload, open_studies
from scalesearch.study.folder import StudyFolder

HOST = "127.0.0.1"
_logger = logging.getLogger(__name__)


class LivePage:
    """The newest payload of studies that go on, made at most once for each change, whoever asks.

    Args:
        readers: Of the studies.
    """

    def __init__(self, readers: Sequence[StudyReader]) -> None:
        self._readers = readers
        self._lock = threading.Lock()
        self._state: tuple[State, ...] | None = None
        self._payload: Payload | None = None
        self._version = ""

    def newest(self) -> tuple[str, Payload]:
        """Return the payload as the record is now, and its version."""
        with self._lock:
            state = tuple(reader.look() for reader in self._readers)
            if self._payload is None or state != self._state:
                self._payload, self._state = make_payload(self._readers), state
                self._version = hashlib.sha256(repr(state).encode()).hexdigest()[:16]
            return self._version, self._payload


@contextmanager
def serve_page(
    folder: StudyFolder, storage: str | None = None, compare: str | None = None, *, port: int = 0
) -> Iterator[str]:
    """Serve the page of a study while the block runs, and give its URL.

    Args:
        folder: Of the study.
        storage: URL of its storage, where it is not its own SQLite file.
        compare: Another study in the same results folder, shown beside this one.
        port: Of 127.0.0.1; 0 takes a free one.

    Raises:
        StudyError: A study has no record, or the port cannot be had.
    """
    page = LivePage(open_studies(folder, storage, compare))
    page.newest()  # what is wrong with the study is said here, not to a browser
    try:
        server = _Server(page, port)
    except OSError as error:
        raise StudyError(f"port must be a free one of {HOST}, got {port} ({error.strerror})") from None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def wait_for_interrupt() -> None:
    """Wait until somebody presses Ctrl-C.

    Raises:
        KeyboardInterrupt: They did.
    """
    while True:
        threading.Event().wait(3600)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, page: LivePage, port: int) -> None:
        self.page = page
        super().__init__((HOST, port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 30

    def do_GET(self) -> None:
        if self.headers.get("Host", "") not in self._own_hosts():
            self._answer(HTTPStatus.FORBIDDEN, "text/plain", b"this page is for this machine alone\n")
            return
        asked = urlsplit(self.path)
        try:
            match asked.path:
                case "/":
                    version, payload = self.server.page.newest()
                    self._answer(HTTPStatus.OK, "text/html", write_page(payload, live=version).encode())
                case "/payload.json":
                    self._answer_payload(parse_qs(asked.query).get("have", [""])[0])
                case _:
                    self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"there is / and /payload.json\n")
        except ScalesearchError as error:
            _logger.warning("%s", error)
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", f"{error}\n".encode())
        except (BrokenPipeError, ConnectionResetError):  # the browser went away
            self.close_connection = True

    def _answer_payload(self, have: str) -> None:
        version, payload = self.server.page.newest()
        if have == version:
            self._answer(HTTPStatus.NO_CONTENT, "application/json", b"")
        else:
            self._answer(HTTPStatus.OK, "application/json", embed({"version": version, "payload": payload}).encode())

    def _refuse(self) -> None:
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", b"only GET is answered\n")

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse  # noqa: N815

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(body)),
            "Content-Security-Policy": f"{content_policy(is_live=True)}; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = "GET"
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _own_hosts(self) -> tuple[str, str]:
        return f"{HOST}:{self.server.server_port}", f"localhost:{self.server.server_port}"

    def log_message(self, format: str, *args: object) -> None:
        _logger.debug(format, *args)
