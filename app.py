"""What `streamlit run app.py` starts: one ASGI process with the pages and, under /v1, the HTTP interface."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import streamlit as st
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route


def _version() -> str:
    try:
        return version("roofcast")
    except PackageNotFoundError:
        return "0 (not installed)"


async def health(request: Request) -> JSONResponse:
    """Whether the process answers, and which version it is."""
    return JSONResponse({"status": "ok", "version": _version()})


async def refuse(request: Request, error: Exception) -> JSONResponse:
    """A wrong address or method under /v1, as JSON."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else "internal error"
    return JSONResponse({"error": detail, "path": request.url.path}, status_code=status)


# Mounted, not routed one by one: an unknown /v1 path must be a 404 and not fall through to the pages.
api = Starlette(routes=[Route("/health", health)], exception_handlers={HTTPException: refuse})

app = st.App(Path(__file__).parent / "pages" / "frame.py", routes=[Mount("/v1", app=api)])
