"""A child process under a deadline that the parent owns.

Whatever a child does — crash, hang with every signal ignored, run out of memory, leave early — ends as a
`MeasurementError` with one outcome of the vocabulary, and never as a result.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from harness.errors import MeasurementError, RecordError
from harness.measure.tree import Tree
from harness.records import Outcome
from harness.worker import bootstrap
from harness.worker.protocol import Failure, Message, Stop, Stopped, receive, send

__all__ = ["Child"]

BOOTSTRAP = Path(bootstrap.__file__)

Reply = TypeVar("Reply")
GRACE = 2.0
"""Seconds between asking a hung child to explain itself, to end, and ending it."""
LOG_TAIL = 8_000
WATCH = 0.25
"""Seconds between looks at whether the process still lives: a grandchild can keep its pipe open after its death."""


class Child:
    """One worker process. Use as a context manager: leaving it ends the process and all that it started.

    name  what it serves, for messages
    log   file that takes what it and its libraries print
    env   environment variables on top of this process's and the tree's
    tree  the sources that it serves
    """

    def __init__(self, name: str, log: Path, env: Mapping[str, str], tree: Tree) -> None:
        self.name = name
        self._log = log
        self._oom_before = _oom_kills()
        ask_read, ask_write = os.pipe()
        reply_read, reply_write = os.pipe()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [tree.python, "-P", str(BOOTSTRAP), str(tree.root), str(ask_read), str(reply_write)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **tree.variables, **env},
                cwd=tree.root,
                pass_fds=(ask_read, reply_write),
                start_new_session=True,
            )
        os.close(ask_read)
        os.close(reply_write)
        self._requests = os.fdopen(ask_write, "wb")
        self._replies = reply_read
        os.set_blocking(reply_read, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(reply_read, selectors.EVENT_READ)
        self._buffer = b""

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._kill()
        finally:  # a second interrupt may come while the first is waited for
            self._signal(signal.SIGKILL)
            self._selector.close()
            os.close(self._replies)
            with contextlib.suppress(OSError):
                self._requests.close()
            self._process.wait()

    def ask(self, request: Message) -> None:
        """Send a request without waiting for its reply. Raises `MeasurementError` if the child is gone."""
        try:
            send(self._requests, request)
        except OSError:
            raise self._ended() from None

    def reply(self, kind: type[Reply], deadline: float) -> Reply:
        """Wait at most `deadline` seconds for the reply to the last request.

        Raises `MeasurementError` with outcome `timeout` when the time is over, with the outcome of its end if the child
        died, and with the outcome that it gave itself if the request failed.
        """
        message = self._read(time.monotonic() + deadline, deadline)
        if isinstance(message, Failure):
            raise MeasurementError(message.message, outcome=message.outcome, log=message.traceback or self.tail())
        if not isinstance(message, kind):
            raise MeasurementError(f"{self.name}: answered {type(message).__name__} out of turn", log=self.tail())
        return message

    def stop(self, deadline: float) -> Stopped:
        """End in order and give the completion record, without which nothing before it counts."""
        self.ask(Stop())
        return self.reply(Stopped, deadline)

    def tail(self) -> str:
        """The end of what the process printed."""
        with contextlib.suppress(OSError), self._log.open("rb") as file:
            file.seek(max(0, self._log.stat().st_size - LOG_TAIL))
            return file.read().decode("utf-8", errors="replace")
        return ""

    def _read(self, end: float, deadline: float) -> Message:
        while b"\n" not in self._buffer:
            remaining = end - time.monotonic()
            if remaining <= 0:
                raise self._hung(deadline)
            dead = self._process.poll() is not None
            if self._selector.select(0 if dead else min(remaining, WATCH)):
                data = os.read(self._replies, 1 << 20)
                if not data:
                    raise self._ended()
                self._buffer += data
            elif dead:
                raise self._ended()
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            return receive(line)
        except RecordError as error:
            raise MeasurementError(f"{self.name}: {error}", outcome=Outcome.CRASHED, log=self.tail()) from None

    def _hung(self, deadline: float) -> MeasurementError:
        self._signal(signal.SIGUSR1)  # faulthandler writes every thread's stack to the log
        time.sleep(min(GRACE, 0.5))
        log = self.tail()
        self._kill()
        message = f"{self.name}: no answer within {deadline:g} s; its stacks are in the log"
        return MeasurementError(message, outcome=Outcome.TIMEOUT, log=log)

    def _ended(self) -> MeasurementError:
        try:
            code = self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            return MeasurementError(f"{self.name}: closed its pipe", outcome=Outcome.PREMATURE_EXIT, log=self.tail())
        outcome, how = _how_it_ended(code, self._oom_before)
        return MeasurementError(f"{self.name}: the process {how}", outcome=outcome, log=self.tail())

    def _kill(self) -> None:
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE)
        # Also after a clean end: what it left running in its group would disturb the cases that follow.
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def _how_it_ended(code: int, oom_before: int | None) -> tuple[Outcome, str]:
    if code == 0:
        return Outcome.PREMATURE_EXIT, "ended with exit code 0 before it had answered"
    if code > 0:
        return Outcome.CRASHED, f"ended with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    if -code == signal.SIGKILL:
        # A plain kill and the kernel's out-of-memory kill look the same from here; only the counter tells them apart.
        oom_now = _oom_kills()
        if oom_before is not None and oom_now is not None and oom_now > oom_before:
            return Outcome.OOM, "was killed by the kernel: out of memory"
        return Outcome.KILLED, "was killed (SIGKILL)"
    return Outcome.CRASHED, f"crashed with {name}"


def _oom_kills() -> int | None:
    """Out-of-memory kills of this process's cgroup so far; None where the kernel does not tell."""
    for path in _oom_files():
        with contextlib.suppress(OSError, ValueError):
            for line in path.read_text(encoding="ascii").splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return None


def _oom_files() -> Iterator[Path]:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                yield Path(f"/sys/fs/cgroup{path}/memory.events")
            elif "memory" in controllers.split(","):
                yield Path(f"/sys/fs/cgroup/memory{path}/memory.oom_control")
