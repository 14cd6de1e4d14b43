"""Planted artefacts of real cases, with the slow-down that each was measured to have.

An artefact is slowed by extra work (`extra_work`), and how much is measured in turns against the clean one. The cost of
work is `c + pairs * (a + b * width)`: a price for having any, one for each pair of products and one for each column.
All are fitted to the launches of all sizes of a case together, so that the small sizes are known from the large ones
too, and the work is chosen anew until the fit says what was asked for.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls
from scipy.special import stdtrit

from benchmarks import extra_work, planted_suite
from benchmarks.extra_work import Work, least_width, plant
from harness.disturbance import disturbances
from harness.errors import HarnessError
from harness.hardware import cpu
from harness.measure.child import Child
from harness.measure.environment import library_versions
from harness.measure.launch import ArmSpec, launch
from harness.measure.tree import Tree
from harness.plan import Plan
from harness.worker.artefact import ARTEFACT_SCHEMA, read_manifest
from harness.worker.protocol import Prepare, Prepared

__all__ = ["CASES", "SIZES", "Case", "Planter", "sizes_of"]

Calibration = dict[str, Any]
Interval = Callable[[Work], tuple[float, float, float]]
Prices = tuple[float, float, float]

ROOT = Path(__file__).parent.parent
SUITE = "benchmarks/planted_suite.py"
SIZES = (1.0, 2.5, 5.0, 12.0, 25.0)
"""Slow-downs in percent."""
CLOSE, CLOSE_SHARE = 0.15, 0.03
"""A size is met where the fit's point lies within this many points of it, or within this share of it."""
CLEAN, APART = "clean", "apart"
"""Folders of the two artefacts of a case without extra work."""
ROUNDS = 4
PROBED = 32
"""Pairs of a first guess: enough to show beside calls of 20 ms."""
PROBES, LAUNCHES = 4, 4
"""Launches of a first guess, and of each size in each round."""
PLAN = Plan(seconds=0.6)
HUBER = 1.345
"""Robust standard deviations from which on a launch counts for less."""
WIDTH = 256
"""Most columns of a pair, so that its matrices stay in the inner caches (twice the output's, where that is more)."""


@dataclass(frozen=True)
class Case:
    """A case of `planted_suite`, its grid's function, and the case that is its reference."""

    id: str
    function: str
    reference: str


CASES = (
    Case("digits/onnxruntime/cpu", "small", "digits/reference/cpu"),
    Case("digits/channels_last/cpu", "small", "digits/reference/cpu"),
    Case("silero/onnxruntime:basic/cpu", "streams", "silero/reference/cpu"),
    Case("magika/onnxruntime:basic/cpu", "streams", "magika/reference/cpu"),
    Case("minilm/onnxruntime/cpu", "transformer", "minilm/reference/cpu"),
)
FUNCTIONS = {id: case.function for case in CASES for id in (case.id, case.reference)}


@dataclass
class Planter:
    """Makes artefacts, clean and planted, and measures the planted ones.

    folder    where artefacts are kept
    known     case id -> its calibration, kept with the results
    progress  told in a few words what is going on
    wait      called before each size is measured, to wait for an idle machine
    day       on another day than that of its calibration, a case is measured anew
    """

    folder: Path
    known: dict[str, Calibration]
    progress: Callable[[str], None]
    wait: Callable[[], None] = lambda: None
    tree: Tree = field(default_factory=lambda: Tree(ROOT))
    day: str = field(default_factory=lambda: datetime.datetime.now(datetime.UTC).date().isoformat())
    _measured: set[str] = field(default_factory=set)

    def clean(self, case_id: str) -> Path:
        """The artefact of a case as it is, made where it is not there."""
        folder = self._place(case_id) / CLEAN
        if not _usable(folder):
            shutil.rmtree(folder.parent, ignore_errors=True)
            self._prepare(case_id, folder)
        return folder

    def apart(self, case_id: str) -> Path:
        """A second artefact of a case as it is, made by another process: what two commits without a change have."""
        folder = self.clean(case_id).with_name(APART)
        if not _usable(folder):
            shutil.rmtree(folder, ignore_errors=True)
            self._prepare(case_id, folder)
        return folder

    def planted(self, case_id: str, percent: float) -> Path:
        """The artefact that was measured to be slower by about this much; the clean one for 0."""
        clean = self.clean(case_id)
        if not percent:
            return clean
        sizes = SIZES if any(case.id == case_id for case in CASES) else SIZES[-1:]
        kept = self.known.get(case_id)
        current = kept is not None and kept["met"] and kept["day"] == self.day and kept["artefact"] == _short(clean)
        if kept is None or not (current or case_id in self._measured):
            self.known[case_id] = kept = self._calibrate(case_id, sizes, kept)
            self._measured.add(case_id)
        size = kept["sizes"][f"{percent:g}"]
        return self._with(clean, Work(size["pairs"], size["width"]))

    def measured(self, case_id: str, percent: float) -> float | None:
        """Percent by which what is planted under this name was measured to be slower; None before it was."""
        if not percent:
            return 0.0
        kept = self.known.get(case_id)
        return float(kept["sizes"][f"{percent:g}"]["percent"][0]) if kept else None

    def met(self, case_id: str, percent: float) -> bool:
        """Whether what is planted under this name is near it; it is measured where it was not yet."""
        self.planted(case_id, percent)
        found = self.measured(case_id, percent)
        return found is not None and _near(found, percent)

    def _prepare(self, case_id: str, folder: Path) -> None:
        self.progress(f"preparing {case_id}")
        building = folder.with_name(f".{folder.name}")
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        log = self.folder / "prepare.log"
        plan = Plan()
        with Child(f"preparing {case_id}", log, cpu.environment(), self.tree) as child:
            child.ask(Prepare(str(ROOT), SUITE, FUNCTIONS[case_id], case_id, str(building)))
            child.reply(Prepared, plan.prepare_deadline)
            child.stop(plan.deadline)
        building.rename(folder)

    def _calibrate(self, case_id: str, sizes: Sequence[float], kept: Calibration | None) -> Calibration:
        clean = self.clean(case_id)
        least = least_width(clean)
        most = max(WIDTH, 2 * least)
        seen: list[tuple[Work, float]] = []
        if kept and kept["met"]:
            prices = (kept["any"], kept["pair"], kept["column"])
        else:
            for work in (Work(1, least), Work(PROBED, least), Work(PROBED, most)):
                self.progress(f"{case_id}: what {work.pairs} pairs of {work.width} cost")
                seen += self._measure(case_id, clean, work, PROBES)
            prices = _fit(seen)[0]
        for _ in range(ROUNDS):
            works = {size: _choose(size, prices, least, most) for size in sizes}
            for size, work in works.items():
                if any(one == work for one, _ in seen):
                    continue
                self.progress(f"{case_id}: {size:g} % as {work.pairs} pairs of {work.width}")
                seen += self._measure(case_id, clean, work, LAUNCHES)
            prices, interval = _fit(seen)
            met = {size: interval(work) for size, work in works.items()}
            again = {size: _choose(size, prices, least, most) for size in sizes}
            near = all(_near(met[size][0], size) for size in sizes)
            if near or again == works:
                break
        if not near:
            self.progress(f"{case_id}: what is planted is not near what was asked; it is measured again the next time")
        wanted = {CLEAN, APART, *map(_name, works.values())}
        for folder in clean.parent.iterdir():
            if folder.name not in wanted:
                shutil.rmtree(folder)
        return {
            "day": self.day,
            "met": near,
            "artefact": _short(clean),
            "any": prices[0],
            "pair": prices[1],
            "column": prices[2],
            "launches": len(seen),
            "sizes": {
                f"{size:g}": {
                    "pairs": work.pairs,
                    "width": work.width,
                    "percent": [round(value, 3) for value in met[size]],
                    "own_percent": round(float(np.mean([slow for one, slow in seen if one == work])), 3),
                }
                for size, work in works.items()
            },
        }

    def _measure(self, case_id: str, clean: Path, work: Work, launches: int) -> list[tuple[Work, float]]:
        rng = random.Random(f"{case_id} {work}")
        planted = self._with(clean, work)
        arms = {"candidate": ArmSpec(self.tree, str(planted)), "previous": ArmSpec(self.tree, str(clean))}
        quiet: list[float] = []
        every: list[float] = []
        self.wait()
        while len(quiet) < launches and len(every) < 2 * launches:
            made = launch(arms, hardware=cpu, plan=PLAN, rng=rng, logs=self.folder, phase="screen")
            if made.against is not None:
                every.append(made.against)
                quiet += [] if disturbances(made) else [made.against]
        return [(work, 100 * (ratio - 1)) for ratio in (quiet if len(quiet) > 1 else every)]

    def _with(self, clean: Path, work: Work) -> Path:
        folder = clean.with_name(_name(work))
        if not _usable(folder):
            shutil.rmtree(folder, ignore_errors=True)
            plant(clean, folder, work)
        return folder

    def _place(self, case_id: str) -> Path:
        """A folder for all artefacts of a case that are made by the same sources and libraries."""
        sources = [Path(str(module.__file__)).read_bytes() for module in (planted_suite, extra_work)]
        sources += [path.read_bytes() for path in sorted((ROOT / "suites" / "models").iterdir()) if path.is_file()]
        key = [ARTEFACT_SCHEMA, library_versions(), [hashlib.sha256(source).hexdigest() for source in sources]]
        digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:12]
        return self.folder / "artefacts" / f"{case_id.replace('/', '_').replace(':', '-')}-{digest}"


def _near(measured: float, percent: float) -> bool:
    """Whether a size is met."""
    return abs(measured - percent) <= max(CLOSE, CLOSE_SHARE * percent)


def _choose(percent: float, prices: Prices, least: int, most: int) -> Work:
    """The fewest pairs that can be that slow, and the width at which they are."""
    any_work, pair, column = prices
    left = max(percent - any_work, 0.0)
    pairs = max(1, math.ceil(left / (pair + column * most)))
    width = round((left / pairs - pair) / column)
    return Work(pairs, min(most, max(least, width)))


def _row(work: Work) -> list[float]:
    return [1.0, work.pairs, work.pairs * work.width]


def _fit(seen: Sequence[tuple[Work, float]]) -> tuple[Prices, Interval]:
    """Prices of any work, of a pair and of a column in percent, and (point, low, high) at 95 % for a work.

    By least squares with Huber's weights (1964): a launch that stands out counts for less. No price is below nothing
    (Lawson and Hanson 1974): where works are of about one width, the price of a pair and that of its columns are hard
    to tell apart, and one that came out negative would have to be made up for by the other.
    """
    x = np.array([_row(work) for work, _ in seen], dtype=np.float64)
    y = np.array([slow for _, slow in seen])
    weights = np.ones(len(y))
    for _ in range(20):
        prices, _ = nnls(x * np.sqrt(weights)[:, None], y * np.sqrt(weights))
        left = np.abs(y - x @ prices)
        scale = max(1.4826 * float(np.median(left)), 1e-6)
        weights = np.minimum(1.0, HUBER * scale / np.maximum(left, 1e-12))
    freedom = max(1, len(y) - int(np.linalg.matrix_rank(x)))  # works of one size, or of one width, tell fewer prices
    variance = float(np.sum(weights * left**2)) / freedom
    inverse = np.linalg.pinv(x.T @ (x * weights[:, None]))

    def interval(work: Work) -> tuple[float, float, float]:
        row = np.array(_row(work), dtype=np.float64)
        point = float(row @ prices)
        reach = float(stdtrit(freedom, 0.975)) * math.sqrt(variance * float(row @ inverse @ row))
        return point, point - reach, point + reach

    # A price of nothing would ask for work without end.
    return (float(prices[0]), float(prices[1]), max(float(prices[2]), 1e-9)), interval


def _name(work: Work) -> str:
    return f"{work.pairs}x{work.width}"


def _usable(folder: Path) -> bool:
    try:
        read_manifest(folder)
    except HarnessError:
        return False
    return True


def _short(clean: Path) -> str:
    return clean.parent.name.rpartition("-")[2]


def sizes_of(known: Mapping[str, Calibration]) -> dict[str, tuple[float, float]]:
    """Nominal size -> the smallest and the largest slow-down that a case was measured to have under that name."""
    found: dict[str, list[float]] = {}
    for calibration in known.values():
        for size, one in calibration["sizes"].items():
            found.setdefault(size, []).append(one["percent"][0])
    return {size: (min(values), max(values)) for size, values in found.items()}
