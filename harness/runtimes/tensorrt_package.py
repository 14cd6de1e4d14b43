"""The package `tensorrt` or `tensorrt_rtx`, which have one interface, and their log."""

from __future__ import annotations

import importlib
from typing import Any

from harness.errors import UnavailableError

__all__ = ["log_of", "package"]

_LAST = 3
"""Errors that a message repeats."""


def package(module: str, extra: str) -> Any:
    """The package `tensorrt` or `tensorrt_rtx`. Raises `UnavailableError` where its libraries do not load."""
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:
        cure = f"pip install 'inference-harness[{extra}]'"
        if module == "tensorrt":
            cure += " with NVIDIA's own package index added: other indexes have the names without the libraries"
        raise UnavailableError(f"{module} can't be imported: {error}", cure) from error


def log_of(trt: Any) -> Any:
    """A logger that keeps the errors, which the package writes to its log and often nowhere else; `said()` has them."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self._errors.append(message)

        def said(self) -> str:
            return "; ".join(self._errors[-_LAST:]) or "it gives no reason"

    return Log()
