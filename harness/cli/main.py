"""Entry of the command `harness`.

Exit codes: 0 for success; 2 for a usage error, an error of the harness, or input that is incomplete, which `report`
draws all the same; 130 for an interrupt; `compare`, `bisect`, `calibrate`, `review` and `optimize` have more (see their
modules). A reader that leaves early changes none of them: what follows is discarded; 141 where a command could not go
on then, as of a program that such a pipe ends.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import version

from harness.cli import (
    accept,
    bisect,
    calibrate,
    compare,
    doctor,
    export,
    history,
    optimize,
    prune,
    report,
    review,
    sensitivity,
)
from harness.cli.output import discard, fail, flush, print_anywhere
from harness.errors import HarnessError

__all__ = ["build_parser", "main"]

ERROR = 2
CLOSED = 141


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each sets `run`, a function of the parsed arguments that gives the exit code."""
    parser = argparse.ArgumentParser(
        prog="harness",
        description="A benchmark and regression gate for optimised AI models. Suites are run by pytest; these commands "
        "work on what they wrote.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"harness {version('inference-harness')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    judging = (compare, bisect, calibrate, optimize, sensitivity)
    for command in (report, export, *judging, review, accept, prune, history, doctor):
        command.add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code. Errors are sentences on standard error, without a traceback."""
    print_anywhere()
    arguments = build_parser().parse_args(argv)
    try:
        with warnings.catch_warnings():
            # Such as of a run that a power cut ended, which can be read: PYTHONWARNINGS=error made tracebacks of them.
            if any(action == "error" for action, *_ in warnings.filters):
                warnings.simplefilter("default", RuntimeWarning)
            code: int = arguments.run(arguments)
        flush()
    except BrokenPipeError:
        discard()  # what is still in the buffer must not fail at exit
        return CLOSED
    except (HarnessError, OSError) as error:
        fail(str(error))
        return ERROR
    except KeyboardInterrupt:
        fail("interrupted")
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main())
