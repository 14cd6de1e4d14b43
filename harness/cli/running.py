"""Running pytest from a command, in a process of its own."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.amounts import share_of
from harness.cli.options import amount
from harness.cli.output import flush
from harness.measure.environment import check_system
from harness.records import Run
from harness.report.record import RUN_NAME, read_run
from harness.settings import Against
from harness.worker.bootstrap import PR_SET_PDEATHSIG

__all__ = ["LOG", "SUITES", "add_sampling_options", "measured", "plan_options", "run_pytest"]

SUITES = "suites"
"""Where suites lie if a command is not told."""

LOG = "pytest.log"

GRACE = 60.0
"""Seconds that an interrupted pytest has to end what it was doing and to write its report."""


def run_pytest(arguments: Sequence[str], log: Path | None = None) -> int:
    """Run pytest with the running interpreter and harness, and give its exit code.

    What it prints goes to the terminal, or into the file `log`. Raises `SuiteError` where no case can be measured on
    this system, and `KeyboardInterrupt` after the interrupted pytest has ended in order, so that its report is written.
    """
    return _ended(arguments, log).returncode


def _ended(arguments: Sequence[str], log: Path | None) -> subprocess.Popen[bytes]:
    """The process of `run_pytest`, once it has ended."""
    check_system()
    # -P: or the folder that one stands in, perhaps another checkout of the harness, would come before the running one.
    command = [sys.executable, "-P", "-m", "pytest", *arguments]
    flush()
    with contextlib.ExitStack() as stack:
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
        output = stack.enter_context(log.open("ab")) if log else None
        # In a session of its own, so that a terminal's interrupt reaches it once: from here.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=_ending_with(os.getpid()),
        )
        try:
            process.wait()
        except BaseException:
            _end(process)
            raise
    return process


def measured(arguments: Sequence[str], reports: Path) -> Run | None:
    """The record of a run of pytest whose reports go into this folder; None where it made none.

    What pytest prints is added to `pytest.log` in that folder.
    """
    before = set(reports.glob(f"*/{RUN_NAME}"))
    process = _ended([*arguments, "--reports", str(reports)], reports / LOG)
    # Not the latest one: another command may run pytest there as well. Of its own the id names the process.
    made = set(reports.glob(f"*_{process.pid}/{RUN_NAME}")) - before
    return read_run(max(made)) if made else None


def add_sampling_options(parser: argparse._ActionsContainer) -> None:
    """Add the options that every command which measures hands on to pytest."""
    parser.add_argument(
        "--tolerance", type=amount(share_of), metavar="SHARE",
        help=f"slow-down that is accepted, such as 0.02 or 2%% (default: {Against.tolerance:g})",
    )  # fmt: skip
    parser.add_argument(
        "--plan", action="append", default=[], metavar="NAME=VALUE",
        help="change the sampling plan, as pytest's option does; repeatable",
    )  # fmt: skip


def plan_options(arguments: argparse.Namespace) -> list[str]:
    """The words of pytest's option for the plan that was asked for."""
    return [word for item in arguments.plan for word in ("--plan", item)]


def _ending_with(parent: int) -> Callable[[], None] | None:
    """What a child calls before it runs anything, to be interrupted when its parent is killed (Linux, prctl(2)).

    It would measure on for hours, beside whatever runs next. An interrupt lets it end what it has started itself, such
    as pip. By the parent Linux means the thread that starts it, which is to be the main one.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork, after which little is safe

    def end_with_it() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job inherits it ignored
        prctl(PR_SET_PDEATHSIG, signal.SIGINT)
        if os.getppid() != parent:  # it was killed before that
            os._exit(1)

    return end_with_it


def _end(process: subprocess.Popen[bytes]) -> None:
    """Interrupt a process and let it end; where that takes too long, or the user insists, less gently."""
    for number, patience in ((signal.SIGINT, GRACE), (signal.SIGTERM, 10.0), (signal.SIGKILL, None)):
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            process.wait(patience)
        if process.returncode is not None:
            return
