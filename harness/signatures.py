"""The signatures of functions that a user wrote."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["signature_of"]


def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """The signature of a function, whose annotations may name what is imported for type checkers alone.

    Raises `TypeError` or `ValueError` where it has none.
    """
    if sys.version_info >= (3, 14):
        import annotationlib

        # There annotations are evaluated when they are asked for, and such a name would be a NameError.
        return inspect.signature(function, annotation_format=annotationlib.Format.STRING)
    return inspect.signature(function)
