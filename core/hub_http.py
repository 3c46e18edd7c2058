"""Talking to the Hub: one repository's facts, small files, and the starts of large ones; each failure as one sentence.

The token goes into the request and nowhere else: no error carries what the library said, which may quote a header.
"""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal
from urllib.parse import urlsplit

from core.errors import HubError
from core.hub_names import endpoint

CONNECT_S, READ_S = 1.5, 20.0
TIMEOUT: Any = (CONNECT_S, READ_S, READ_S, CONNECT_S)  # to connect, read, write, and to get a connection
MAX_SMALL = 64 * 2**20  # bytes of a config or an index
FIRST_CHUNK, LARGEST_CHUNK = 2**18, 2**23


class Repo:
    """One repository at one commit. Raises HubError where the Hub has it not, or does not answer."""

    def __init__(self, name: str, revision: str | None, token: str | Literal[False] | None) -> None:
        from huggingface_hub import HfApi

        if isinstance(token, str) and not re.fullmatch(r"[\x21-\x7e]+", token):
            raise HubError("The token holds spaces or characters that no token of the Hub has; copy it again.")
        self.name, self.wanted = name, revision or "main"
        self._api = HfApi(endpoint=endpoint(), token=token)
        _check_answers()
        with self._sentences():
            info = self._api.model_info(name, revision=revision, timeout=TIMEOUT)
        self.commit = str(info.sha)
        self.files = tuple(entry.rfilename for entry in info.siblings or ())
        if not re.fullmatch(r"[0-9a-f]{7,64}", self.commit):
            raise HubError(f"The Hub names no commit of '{name}'; try again later.")

    def json(self, file: str) -> dict[str, Any]:
        """A small JSON file as a table. Raises HubError."""
        stream = self.open(file)
        parts = [part for part in iter(lambda: stream.read(LARGEST_CHUNK), b"") if self._small(stream, file)]
        try:
            found = json.loads(b"".join(parts))
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise HubError(f"{file} of '{self.name}' is no JSON table; the repository is broken, choose another one.")
        return found

    def _small(self, stream: RemoteFile, file: str) -> bool:
        if (stream.size or 0) > MAX_SMALL:
            raise HubError(
                f"{file} of '{self.name}' has more than {MAX_SMALL // 2**20} MiB, which no such file needs; choose another model."
            )
        return True

    def open(self, file: str) -> RemoteFile:
        """A file that is fetched as far as it is read."""
        return RemoteFile(self, file)

    def part(self, file: str, start: int, size: int) -> tuple[bytes, int | None]:
        """Up to `size` bytes from `start`, and how many the file has if the server says so. Nothing at its end."""
        from huggingface_hub import get_session, hf_hub_url
        from huggingface_hub.utils import build_hf_headers

        url = hf_hub_url(self.name, file, revision=self.commit, endpoint=endpoint())
        headers = {**build_hf_headers(token=self._api.token), "Range": f"bytes={start}-{start + size - 1}"}
        with (
            self._sentences(file),
            get_session().stream("GET", url, headers=headers, timeout=TIMEOUT, follow_redirects=True) as answer,
        ):
            return self._body(answer, file, start, size)

    def _body(self, answer: Any, file: str, start: int, size: int) -> tuple[bytes, int | None]:
        from huggingface_hub.utils import hf_raise_for_status

        if answer.status_code == 416:
            return b"", start
        if answer.is_error:
            answer.read()
        hf_raise_for_status(answer)
        if answer.status_code != 206 and start:
            raise HubError(f"The Hub at {endpoint()} does not serve parts of files; set HF_ENDPOINT to one that does.")
        parts, held = [], 0
        for piece in answer.iter_bytes():
            parts.append(piece)
            held += len(piece)
            if held >= size:  # a server that ignores ranges sends the whole file: take no more of it
                break
        total = re.fullmatch(r"bytes \d+-\d+/(\d+)", answer.headers.get("content-range", ""))
        length = answer.headers.get("content-length", "") if answer.status_code == 200 else ""
        return b"".join(parts)[:size], int(total[1]) if total else int(length) if length.isdigit() else None

    @contextmanager
    def _sentences(self, file: str | None = None) -> Iterator[None]:
        """Turns what the library raises into one sentence of ours, without its text."""
        from huggingface_hub import errors

        try:
            yield
            return
        except HubError:
            raise
        except errors.GatedRepoError:
            sentence = (
                f"'{self.name}' is gated: accept its licence at {endpoint()}/{self.name} and set HF_TOKEN to a token "
                "of that account with read access."
            )
        except errors.RevisionNotFoundError:
            sentence = f"'{self.name}' has no revision '{self.wanted}'; give a branch, tag or commit that it has."
        except errors.RepositoryNotFoundError:
            sentence = (
                f"There is no model '{self.name}' on the Hub, or it is private; check its name, or set HF_TOKEN to a token "
                "that may read it."
            )
        except errors.EntryNotFoundError:
            sentence = f"'{self.name}' has no file '{file}' at '{self.wanted}'; check its name on the Hub."
        except errors.OfflineModeIsEnabled:
            sentence = f"'{self.name}' is not on this machine, and HF_HUB_OFFLINE forbids the network; unset it and try again."
        except errors.HFValidationError:
            sentence = f"'{self.name}' is no name that the Hub allows; give owner/name."
        except errors.HfHubHTTPError as error:
            sentence = _refused(self.name, getattr(error.response, "status_code", None))
        except (errors.HTTPError, OSError, UnicodeError, ValueError):
            sentence = no_answer()
        raise HubError(sentence) from None


class RemoteFile:
    """A stream over a file of the Hub that asks for the next part, each twice as long, when it is read so far."""

    def __init__(self, repo: Repo, file: str) -> None:
        self._repo, self._file = repo, file
        self._held, self._at, self._next, self._chunk = b"", 0, 0, FIRST_CHUNK
        self.size: int | None = None  # of the whole file, once something was read

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes, nothing at the end of the file. Raises HubError."""
        if self._at >= len(self._held):
            if self._next == self.size:
                return b""
            self._held, self.size = self._repo.part(self._file, self._next, max(self._chunk, min(size, LARGEST_CHUNK)))
            self._at = 0
            if not self._held:
                return b""
            self._next += len(self._held)
            self._chunk = min(2 * self._chunk, LARGEST_CHUNK)
        part = self._held[self._at : self._at + size]
        self._at += len(part)
        return part


def _refused(name: str, status: int | None) -> str:
    if status == 401:
        return "The Hub does not accept the token; set HF_TOKEN to a valid one, or unset it for public models."
    if status == 403:
        return f"The token may not read '{name}'; set HF_TOKEN to one that may, or ask for access at {endpoint()}/{name}."
    if status == 429:
        return "The Hub asks to wait (too many requests); try again in some minutes, or set HF_TOKEN."
    return f"The Hub at {endpoint()} answered with error {status}; try again later."


def no_answer() -> str:
    """The sentence for a Hub that cannot be reached."""
    return f"The Hub at {endpoint()} cannot be reached; check the network (or HF_ENDPOINT), or use a model that is already here."


def _check_answers() -> None:
    """Raises HubError where no connection opens in time: the library would try again, and resolvers wait far longer."""
    parts = urlsplit(endpoint())
    try:
        host, port = parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443)
    except ValueError:
        raise HubError(no_answer()) from None
    proxies = urllib.request.getproxies()
    if (proxies.get(parts.scheme) or proxies.get("all")) and not urllib.request.proxy_bypass(host):
        return  # the proxy connects
    answered: list[bool] = []

    def connect() -> None:
        try:
            socket.create_connection((host, port), CONNECT_S).close()
            answered.append(True)
        except (OSError, UnicodeError):
            return

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(CONNECT_S)
    if not answered:
        raise HubError(no_answer())


def offline() -> bool:
    """Whether the network is forbidden: ROOFCAST_OFFLINE or HF_HUB_OFFLINE."""
    return any(os.environ.get(name, "").strip().lower() in ("1", "true", "yes", "on") for name in ("ROOFCAST_OFFLINE", "HF_HUB_OFFLINE"))
