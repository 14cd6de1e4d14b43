"""The options of the pytest plugin, and what they come to."""

from __future__ import annotations

import dataclasses
import math
import os
import re
import shlex
from collections.abc import Generator, Iterator, Mapping, Sequence

import pytest

from harness.amounts import seconds_of, share_of
from harness.cli.options import amount
from harness.errors import BaselineError, SuiteError
from harness.hardware import Hardware
from harness.plan import Plan
from harness.settings import MODES, Against, without_credentials

__all__ = [
    "add_options",
    "against_of",
    "check_options",
    "command_of",
    "is_gate",
    "lacked",
    "mode_of",
    "plan_of",
    "pytest_load_initial_conftests",
]

GROUP = "harness"

_PLACES = {"--baselines": "baselines", "--baseline-rev": "", "--reports": "reports"}
"""Where a run's baselines and its record lie: the options, and what they are by default."""


def add_options(parser: pytest.Parser) -> None:
    """Declare them. Raises `pytest.UsageError` where another plugin has one of the same name."""
    try:
        _declare(parser)
    except Exception as error:  # pytest's or argparse's
        raise pytest.UsageError(_conflict(error)) from error


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(parser: pytest.Parser) -> Generator[None]:
    """Raise `pytest.UsageError` where the project's conftest has an option of the same name: pytest names no plugin."""
    try:
        return (yield)
    except Exception as error:
        options = parser.getgroup(GROUP).options
        own = {word for option in options for word in (option.dest, *option.names())}
        clash = re.search("already (used|added)|conflicting option", str(error))
        if clash and own.intersection(re.findall(r"--[\w-]+|(?<=')\w+(?=')", str(error))):
            raise pytest.UsageError(_conflict(error)) from error
        raise


def _conflict(error: Exception) -> str:
    said = str(error).partition(";")[0]
    return (
        f"{said}: the plugin of inference-harness has this option; rename the project's, or run what has no suites "
        "with -p no:harness"
    )


def _declare(parser: pytest.Parser) -> None:
    group = parser.getgroup(GROUP, "inference harness")
    group.addoption(
        "--baseline",
        choices=MODES,
        default="",
        help="compare: fail on what got worse (default); strict: also on what could not be decided; "
        "update: accept what is measured, with --reason; off: measure only",
    )
    group.addoption("--reason", default="", help="why --baseline=update is right; kept in the baseline")
    group.addoption("--baselines", default="baselines", help="folder of the committed baselines (default: %(default)s)")
    group.addoption("--baseline-rev", default="", metavar="REV", help="read the baselines from another git revision")
    group.addoption(
        "--against",
        default="",
        metavar="REV",
        help="compare with the same cases at another git revision, in turns, instead of with the baselines; "
        "'.' compares the working tree with itself",
    )
    group.addoption(
        "--at",
        default="",
        metavar="REV",
        help="with --against: measure the cases at this git revision instead of the working tree's",
    )
    group.addoption("--against-python", default="", metavar="PATH", help="interpreter of the other arm")
    group.addoption(
        "--against-with",
        action="append",
        default=[],
        metavar="REQUIREMENT",
        help="package of the other arm in another version, such as onnxruntime==1.30.0: that before an upgrade, since "
        "what is installed is judged; REV is HEAD by default then",
    )
    group.addoption(
        "--against-tolerance",
        type=amount(share_of),
        default=0.01,
        metavar="SHARE",
        help="slow-down that --against accepts (default: %(default)s)",
    )
    group.addoption("--reports", default="reports", help="folder that runs are written into (default: %(default)s)")
    group.addoption(
        "--history",
        default="",
        metavar="URL",
        help="store that this run is kept in: a SQLite file, postgresql://user@host/database, or off (default: "
        "HARNESS_HISTORY_URL, else history.db among the reports, where the extra `history` is installed)",
    )
    group.addoption("--quick", action="store_true", help="smoke test: one short launch a case, and no verdict")
    group.addoption("--cold", action="store_true", help="prepare every artefact anew, whatever the cache holds")
    group.addoption(
        "--jobs",
        type=int,
        default=None,
        metavar="N",
        help="how many artefacts are made at a time, before anything is timed; with 1, each is made when its case "
        "comes (default: a core each, 4 at most)",
    )
    group.addoption("--resume", action="store_true", help="go on with the latest run if it was interrupted")
    group.addoption(
        "--plan",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change the sampling plan, such as --plan seconds=3 (see docs/writing-a-suite.md)",
    )
    group.addoption(
        "--budget",
        type=amount(seconds_of),
        default=math.inf,
        metavar="TIME",
        help="how long the whole run may take, such as 10m or 1h30m: shared out over its cases, which then get fewer "
        "launches (what every case needs is always made)",
    )
    group.addoption(
        "--require-hardware", action="append", default=[], metavar="NAME", help="fail where this hardware is absent"
    )
    group.addoption(
        "--allow-unavailable",
        action="append",
        default=[],
        metavar="NAME",
        help="cases with this model, technique or id may be unavailable or gone although they have a baseline",
    )
    parser.addini(
        "harness_suites",
        "folders of suites, from the project's: tests in them that use pytest-benchmark are measured and gated too",
        type="args",
        default=["suites"],
    )


def check_options(config: pytest.Config) -> None:
    """Refuse options that make no sense together. Raises `SuiteError` or `BaselineError`."""
    mode, against = mode_of(config), against_of(config)
    if mode == "update" and not config.getoption("reason").strip():
        raise BaselineError("--baseline=update needs --reason 'why these numbers are right'; it is kept with them")
    for name, other in (("--quick", config.getoption("quick")), ("--baseline-rev", config.getoption("baseline_rev"))):
        if mode == "update" and other:
            raise SuiteError(f"--baseline=update and {name}: a baseline is made of whole runs, in the working tree")
    if config.getoption("jobs") is not None and config.getoption("jobs") < 1:
        raise SuiteError(f"--jobs {config.getoption('jobs')}: give 1 or more; with 1 no artefact is made ahead")
    # Who writes either asks for a gate, which --quick among the addopts of a change that is judged must not open.
    if config.getoption("baseline") in ("compare", "strict") and config.getoption("quick"):
        raise SuiteError(
            f"--quick gives no verdicts, so it does not go with --baseline={mode}; leave one out, in addopts too"
        )
    if against and (mode not in ("compare", "strict") or config.getoption("quick")):
        raise SuiteError(f"--against compares with another tree, so it goes with neither --baseline={mode} nor --quick")
    if against and not plan_of(config).confirm:
        raise SuiteError(
            "--against with --plan confirm=0 could call no case slower: in turns only fresh launches convict; "
            "give --plan confirm=N above 0"
        )
    if against and config.getoption("resume"):
        raise SuiteError(
            "--resume does not go with --against: what the other tree's cases gave is not in the journal of the "
            "interrupted run; start again without --resume, whose artefacts are kept"
        )
    if config.getoption("at") and not config.getoption("against"):
        raise SuiteError("--at measures another commit than the working tree's and needs --against REV to judge it")


def mode_of(config: pytest.Config) -> str:
    """How the run is held against the baselines: what --baseline says, or its default where it was not given."""
    given: str = config.getoption("baseline")
    return given or "compare"


def is_gate(config: pytest.Config) -> bool:
    """Whether verdicts, or what they will be held to, were asked for by name, and not by default."""
    return config.getoption("baseline") in ("compare", "strict", "update") or against_of(config) is not None


def plan_of(config: pytest.Config) -> Plan:
    """The sampling plan that the options ask for. Raises `SuiteError` for a name or value that is none."""
    plan = Plan.quick() if config.getoption("quick") else Plan()
    fields = {field.name: field for field in dataclasses.fields(Plan)}
    for option in config.getoption("plan"):
        name, _, text = option.partition("=")
        if name not in fields:
            raise SuiteError(f"--plan {option}: no {name!r} in a plan; it has {', '.join(fields)}")
        kind = type(getattr(plan, name))
        try:
            plan = dataclasses.replace(plan, **{name: kind(text)})
        except ValueError:
            raise SuiteError(f"--plan {option}: {text!r} is no {kind.__name__}") from None
    return plan


def command_of(config: pytest.Config) -> str:
    """What was typed, for a shell, without passwords and tokens: it is kept in the record.

    Folders and the revision that addopts or PYTEST_ADDOPTS set stand before it, as pytest reads them: the commands that
    a report hands on go by them.
    """
    typed = [os.fspath(word) for word in config.invocation_params.args]  # paths too, where code calls pytest
    words = [*_set_elsewhere(config, typed), *typed]
    for i, word in enumerate(words):
        option, equals, url = word.partition("=")
        if option == "--history" and equals:
            words[i] = f"--history={_without_password(url)}"
        elif word == "--history" and i + 1 < len(words):
            words[i + 1] = _without_password(words[i + 1])
    return shlex.join(["pytest", *map(without_credentials, words)])


def _set_elsewhere(config: pytest.Config, typed: Sequence[str]) -> Iterator[str]:
    """The options of `_PLACES` that are set, and not by what was typed."""
    names = {word.partition("=")[0] for word in typed}
    for option, usual in _PLACES.items():
        value = config.getoption(option.removeprefix("--").replace("-", "_"))
        if option not in names and value != usual:
            yield f"{option}={value}"


def _without_password(url: str) -> str:
    """The URL of a store; only its kind is left where a password may be in it.

    A password may have any character, also those that end it for one reader and not for the other, or be a parameter.
    """
    kind, _, rest = url.partition("://")
    return f"{kind}://***" if "?" in rest or ":" in rest.rpartition("@")[0] else url


def against_of(config: pytest.Config) -> Against | None:
    """The tree to compare with, None where the baselines are it."""
    revision, packages = config.getoption("against"), tuple(config.getoption("against_with"))
    python = config.getoption("against_python")
    if not (revision or packages or python):
        return None
    return Against(revision or "HEAD", python, packages, config.getoption("against_tolerance"), config.getoption("at"))


def lacked(config: pytest.Config, hardware: Mapping[str, Hardware]) -> str | None:
    """What is said of the first of this hardware, by name, that was required and is not here; None without one."""
    required = config.getoption("require_hardware")
    absent = {name: why for name in required if name in hardware and (why := hardware[name].available())}
    if not absent:
        return None
    from harness.gate import lacking  # with it come the judge and scipy, which other test runs can do without

    return lacking(next(iter(absent)), absent)
