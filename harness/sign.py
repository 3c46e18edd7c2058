"""The user's own signing key and salt: made once, readable by the user alone, never part of a run file."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.catalog.files import home
from core.errors import RunError

KEY, SALT = "signing.key", "salt"


def signing_key() -> Ed25519PrivateKey:
    """The key in ROOFCAST_HOME/keys, made at its first use. Raises RunError where it cannot be read, or others may read it."""
    raw = _secret(KEY, lambda: Ed25519PrivateKey.generate().private_bytes_raw())
    if len(raw) != 32:
        raise RunError(f"{_folder() / KEY} is no signing key (32 bytes); put the right file back, or delete it to get a new key.")
    return Ed25519PrivateKey.from_private_bytes(raw)


def hashed(text: str) -> str:
    """16 hex digits for what names a machine or a person, under a salt of this user's: nobody else can try names against it."""
    return hmac.new(_secret(SALT, lambda: secrets.token_bytes(32)), text.encode(), hashlib.sha256).hexdigest()[:16]


def _folder() -> Path:
    return home() / "keys"


def _secret(name: str, make: Callable[[], bytes]) -> bytes:
    """A file of secret bytes, made where there is none."""
    path = _folder() / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            _write_once(path, make())
        if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise RunError(f"Others may read {path}; run `chmod 600 {path}`, or delete it to get a new one.")
        return path.read_bytes()
    except OSError as error:
        raise RunError(f"{path} cannot be used ({error.strerror or error}); set ROOFCAST_HOME to a folder of yours.") from error


def _write_once(path: Path, raw: bytes) -> None:
    """Writes a secret whole; of two processes that do so at once, the first one's stays."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        if not path.exists():
            os.replace(temporary, path)
            return
    temporary.unlink(missing_ok=True)
