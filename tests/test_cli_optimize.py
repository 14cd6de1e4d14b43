"""`harness optimize`, on a model small enough to be searched in a test."""

from __future__ import annotations

import argparse
import functools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from harness import Deployment, Metric, grid, technique
from harness.cli import optimize as command
from harness.cli.main import main
from harness.cli.shipping import deliver
from harness.errors import SuiteError
from harness.grid import Address, Case, grids_of, load_suite
from harness.hardware import cpu
from harness.measure.artefacts import Artefact, ArtefactCache
from harness.measure.case import Measurer
from harness.optimize import Goal, Limit, Space, Trial, measuring
from harness.optimize.measuring import Bench
from harness.optimize.suite import Names, suite_text
from harness.records import Outcome, Result
from harness.report.commands import reproduce_command
from harness.report.record import read_run
from harness.techniques import reference
from harness.techniques.base import Pipeline, Technique
from harness.testing import tiny_torch_model
from harness.worker.artefact import read_manifest
from tests.artefacts import make_artefact
from tests.cli_runs import a_case

SUITE = '''\
"""A tiny model."""

from harness import Metric, grid
from harness.hardware import cpu
from harness.techniques import batched, distilled, onnxruntime, pruned_channels, reference
from suites.models import student, tiny

OWN = Metric("per_item", "s", "lower", derive=lambda row: row["latency.p50"])


@grid(
    model=[tiny],
    technique=[reference, onnxruntime(level="basic"), pruned_channels(0.5, finetune=False) | onnxruntime],
    hardware=[cpu],
    metrics=[OWN],
)
def test_it(case, bench):
    bench(case)


@grid(model=[tiny], technique=[distilled(into=student) | batched(4)], hardware=[cpu], metrics=[OWN])
def test_more(case, bench):
    bench(case)
'''
MODELS = '''\
"""The models of the suites."""

from harness.testing import tiny_student_model, tiny_torch_model

tiny = tiny_torch_model()
student = tiny_student_model()
'''


OWN = '''\
"""A model with work that nobody needs, whose processes import no torch, and the technique that takes it away."""

import copy
import dataclasses
import os
from pathlib import Path

from harness import Promise, technique
from harness.testing import tiny_onnx_model

folder = Path(__file__).parent.parent / ".model"
folder.mkdir(exist_ok=True)
small = tiny_onnx_model(folder)


def load():
    import numpy as np
    import onnx

    network = onnx.load(small.load())
    path = folder / f"own-{os.getpid()}.onnx"  # of this process alone: several load the network at a time
    graph = network.graph
    graph.initializer.append(onnx.numpy_helper.from_array(np.full((144, 144), 1e-3, np.float32), "square"))
    for number in range(40):
        inputs = [f"extra{number - 1}" if number else "flat", "square"]
        graph.node.append(onnx.helper.make_node("MatMul", inputs, [f"extra{number}"], name=f"extra{number}"))
    graph.output.append(onnx.helper.make_tensor_value_info("extra39", onnx.TensorProto.FLOAT, ["batch", 144]))
    onnx.save(network, path)
    return path


tiny = dataclasses.replace(small, name="tiny", load=load)


@technique(takes="onnx")
def lean(deployment):
    """Without what only the second output needs."""
    network = copy.deepcopy(deployment.network)
    del network.graph.node[-40:], network.graph.output[1:]
    return deployment.replace(network=network).promising(Promise("nodes", at_most=5))
'''
FAST = '''\
"""A tiny model that can be made faster."""

from harness import grid
from harness.hardware import cpu
from harness.techniques import bf16, int8_dynamic, reference
from suites.own import lean, tiny


@grid(model=[tiny], technique=[reference, lean, int8_dynamic, bf16], hardware=[cpu])
def test_it(case, bench):
    bench(case)
'''

UNTRIED = "bf16 works on a torch network, and tiny exists only as an ONNX network"

NAMELESS = '''\
"""The same, with a technique that no module has under a name."""

from harness import grid, technique
from harness.hardware import cpu
from harness.techniques import reference
from suites.own import lean, tiny


def made():
    @technique(takes="onnx")
    def leaner(deployment):
        """Without the weights of that either."""
        leaned = lean.function(deployment)
        del leaned.network.graph.initializer[-1]
        return leaned

    return leaner


@grid(model=[tiny], technique=[reference, made()], hardware=[cpu])
def test_it(case, bench):
    bench(case)
'''


MAKER = '''\
"""A technique that takes a form which only one without a name gives."""

from harness import grid, technique
from harness.hardware import cpu
from harness.techniques import reference
from suites.models import tiny


def made():
    @technique(takes="torch", gives="onnx")
    def exported(deployment):
        return deployment

    return exported


@technique(takes="onnx")
def lean(deployment):
    return deployment


@grid(model=[tiny], technique=[reference, made() | lean], hardware=[cpu])
def test_it(case, bench):
    bench(case)
'''


NAMESAKES = '''\
"""Values of one name from two modules, and parameters that Python does not write as it reads them."""

from pathlib import Path

from harness import grid, technique
from harness.hardware import cpu
from harness.techniques import distilled, reference
from suites import large, small


def rising(step):
    return step


@technique(takes="torch")
def trained(deployment, schedule):
    return deployment


@technique(takes="torch")
def without(deployment, layers):
    return deployment


@technique(takes="torch")
def table(deployment, path):
    return deployment


@grid(
    model=[large.model],
    technique=[distilled(into=small.model), trained(rising), without(frozenset({"fc"})), small.grid],
    hardware=[cpu],
)
def test_it(case, bench):
    bench(case)


@grid(model=[large.model], technique=[table(Path("a.bin"))], hardware=[cpu])
def test_path(case, bench):
    bench(case)
'''
SMALL = """\
from harness import technique
from harness.testing import tiny_student_model

model = tiny_student_model()


@technique(takes="torch")
def grid(deployment):
    return deployment
"""


@pytest.fixture
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A project in a folder of its own, which a test may name."""
    folder = tmp_path / getattr(request, "param", ".")
    (folder / "suites").mkdir(parents=True)
    (folder / "suites" / "__init__.py").write_text("", encoding="utf-8")
    (folder / "suites" / "models.py").write_text(MODELS, encoding="utf-8")
    (folder / "suites" / "test_tiny.py").write_text(SUITE, encoding="utf-8")
    return folder


def optimize(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness.cli.main", "optimize", "suites/test_tiny.py", "--model", "tiny", *words]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


@pytest.fixture
def refused(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., str]]:
    """What the command says of an error. It is run in this process, whose own `suites` are put aside meanwhile."""

    def suites() -> dict[str, ModuleType]:
        return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "suites"}

    def run(*words: str) -> str:
        suites()
        assert main(["optimize", "suites/test_tiny.py", "--model", "tiny", *words]) == 2
        return capsys.readouterr().err

    monkeypatch.chdir(project)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = suites()
    yield run
    suites()
    sys.modules.update(before)


@pytest.mark.alone
def test_a_search_ends_with_a_recommendation_a_suite_and_an_artefact(project: Path) -> None:
    (project / "suites" / "own.py").write_text(OWN, encoding="utf-8")
    (project / "suites" / "test_tiny.py").write_text(FAST, encoding="utf-8")
    words = ("--technique", "lean", "--technique", "int8_dynamic", "--technique", "bf16", "--max-accuracy-drop", "50%")
    first = optimize(project, *words)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "round 1: one technique at a time" in first.stdout
    assert "recommended: " in first.stdout
    assert " --resume --export DIR --suite-file suites/test_best.py" in first.stdout
    latest = project / "reports" / "optimize" / "latest"
    searched = json.loads((latest / "optimize.json").read_text(encoding="utf-8"))
    assert searched["complete"]

    # An artefact that is gone is made again, of the sources that the search had: before the suite is one of them.
    # What is known needs no time.
    shutil.rmtree(project / ".harness" / "artefacts")
    ship = ("--resume", "--budget", "1ms", "--suite-file", "suites/test_best.py", "--export", "best")
    done = optimize(project, *words, *ship)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cases were measured in the latest run" in done.stdout
    assert "to ship it" not in done.stdout
    manifest = json.loads((project / "best" / "manifest.json").read_text(encoding="utf-8"))
    assert "lean" in manifest["case_id"]
    folder = latest.resolve()
    record = json.loads((folder / "optimize.json").read_text(encoding="utf-8"))
    assert record["recommended"]["technique"] == searched["recommended"]["technique"]
    assert record["untried"] == {"bf16": UNTRIED}
    assert record["recommended"]["technique"] == manifest["case_id"].split("/")[1]
    run = read_run(folder)
    assert run.complete
    assert {result.technique for result in run.results} >= {"reference", "lean"}
    assert (folder / "index.html").is_file()
    again = subprocess.run(
        [sys.executable, "-m", "pytest", "suites/test_best.py", "--quick", "-q"],
        cwd=project, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert again.returncode == 0, again.stdout
    assert "passed" in again.stdout


def test_a_value_without_a_name_costs_the_suite_and_not_the_answer(project: Path, refused: Callable[..., str]) -> None:
    (project / "suites" / "own.py").write_text(OWN, encoding="utf-8")
    (project / "suites" / "test_tiny.py").write_text(NAMELESS, encoding="utf-8")
    assert "'leaner' has no name in a module of" in refused("--suite-file", "suites/test_best.py")
    assert not (project / "reports").exists()

    done = optimize(project, "--minimize", "size", "--export", "best")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "recommended: leaner" in done.stdout
    assert "no suite file can be written: 'leaner' has no name in a module of" in done.stdout
    assert "technique=[" not in done.stdout
    assert (project / "best" / "manifest.json").is_file()
    record = json.loads((project / "reports" / "optimize" / "latest" / "optimize.json").read_text(encoding="utf-8"))
    assert record["recommended"]["technique"] == "leaner"
    assert record["recommended"]["expression"] is None
    assert "'leaner' has no name" in record["recommended"]["unnamed"]
    run = read_run(project / "reports" / "optimize" / "latest")
    again = "harness optimize suites/test_tiny.py --model tiny --minimize size"
    assert {reproduce_command(run, result.nodeid) for result in run.results} == {again}


def test_pytests_import_paths_are_those_of_the_command_and_its_children(project: Path) -> None:
    (project / "pytest.ini").write_text("[pytest]\naddopts = -o pythonpath=src -v\n", encoding="utf-8")
    (project / "conftest.py").write_text("print('set up')\n", encoding="utf-8")
    (project / "src").mkdir()
    (project / "src" / "shapes.py").write_text(OWN, encoding="utf-8")
    (project / "suites" / "test_tiny.py").write_text(FAST.replace("suites.own", "shapes"), encoding="utf-8")
    done = optimize(project, "--minimize", "parameters", "--budget", "1ms", "--export", "best")
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"  not tried: bf16: {UNTRIED}\n" in done.stdout
    latest = project / "reports" / "optimize" / "latest"
    measured = [(result.technique, result.outcome) for result in read_run(latest).results]
    assert measured == [("reference", Outcome.COMPLETED)]

    # Where nothing could be taken over, the model as it is would be shipped in place of what was recommended.
    assert "harness: the time was over before any technique was tried; give a longer --budget\n" in done.stderr
    assert "recommended" not in done.stdout
    assert not (latest / "optimize.json").exists()
    assert not (project / "best").exists()


def test_what_pytest_or_python_can_not_read_is_a_sentence(project: Path, refused: Callable[..., str]) -> None:
    suite = project / "suites" / "test_tiny.py"
    suite.write_text(f"import no_such_thing\n{SUITE}", encoding="utf-8")
    said = refused()
    assert said.startswith(
        "harness: suites/test_tiny.py can't be imported: ModuleNotFoundError: No module named 'no_such_thing'; to see"
    )
    assert "Traceback" not in said
    (project / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n", encoding="utf-8")
    said = refused()
    assert "suites/test_tiny.py: pytest can't read its settings here" in said
    assert "--no-such-option" in said
    assert "Traceback" not in said


def test_what_can_not_be_searched_is_said(refused: Callable[..., str]) -> None:
    for words, message in (
        (("--minimize", "wishes"), "no metric 'wishes'; there is latency.p50"),
        (("--minimize", "throughput"), "write --maximize throughput"),
        (("--hardware", "abacus"), "no hardware 'abacus' in this file; it has cpu"),
        (("--suite-file", "suites/test_tiny.py"), "is there already"),
    ):
        assert message in refused(*words)


def in_a_file(techniques: Sequence[Technique], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command, in this folder, find a test of these techniques on the CPU in a suite file test_s.py."""

    @grid(model=[tiny_torch_model()], technique=techniques, hardware=[cpu])
    def test_it(case, bench):
        bench(case)

    monkeypatch.chdir(folder)
    monkeypatch.setattr(command, "import_suite", lambda root, file: (SimpleNamespace(test_it=test_it), ()))
    (folder / "test_s.py").touch()


def test_a_goal_that_the_evaluation_gives_is_told_from_others() -> None:
    own = [Metric("f1", "share", "higher"), Metric("rate", "x", "higher", derive=lambda values: values["speedup"])]

    @grid(model=[tiny_torch_model()], technique=[reference], hardware=[cpu], metrics=own)
    def test_it(case, bench):
        bench(case)

    nothing = dict.fromkeys(("minimize", "max_accuracy_drop", "max_memory", "max_size", "max_latency"))
    grids = grids_of(SimpleNamespace(test_it=test_it))
    found = {
        name: command._goal(argparse.Namespace(maximize=name, **nothing), grids).evaluated
        for name in ("f1", "rate", "sparsity")
    }
    assert found == {"f1": True, "rate": False, "sparsity": False}


def test_where_nothing_that_was_asked_for_can_be_tried_it_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @technique(takes="onnx")
    def integers(deployment: Deployment) -> Deployment:
        return deployment

    in_a_file([reference, integers], tmp_path, monkeypatch)
    assert main(["optimize", "test_s.py", "--model", "tiny", "--technique", "integers"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(
        "harness: test_s.py: no technique can be tried on tiny:\n  integers: integers works on an ONNX"
    )
    assert not (tmp_path / "reports").exists()


def test_where_nothing_but_the_reference_stands_on_the_grids_it_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    in_a_file([reference], tmp_path, monkeypatch)
    assert main(["optimize", "test_s.py", "--model", "tiny"]) == 2
    assert "no technique but the reference stands on its grids" in capsys.readouterr().err
    assert not (tmp_path / "reports").exists()


def test_a_model_that_can_not_be_compared_as_it_is_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing was tried then, so that "nothing that was tried keeps every limit" would blame limits that nobody set."""

    @technique(takes="torch")
    def half(deployment: Deployment) -> Deployment:
        return deployment

    ended: list[str] = []

    class Failing:
        notice = ""

        def __init__(self, *, space: Space, progress: Callable[[str], None], **_: object) -> None:
            self.space, self.progress = space, progress

        def measure(self, pipeline: Pipeline, best: object) -> Trial:
            case = self.space.case(pipeline)
            result = Result("s", case.id, "", "tiny", pipeline.id, "cpu", Outcome.COMPLETED)
            return Trial(case, result, failed="sparsity is 0.00 % of the model as it is")

        def known(self, pipeline: Pipeline) -> None:
            raise AssertionError(f"{pipeline.id}: the time is never over")

        def finish(self, *, complete: bool) -> None:
            assert complete

        def trim(self) -> None:
            ended.append("trimmed")

    in_a_file([reference, half], tmp_path, monkeypatch)
    monkeypatch.setattr(command, "Bench", Failing)
    assert main(["optimize", "test_s.py", "--model", "tiny", "--maximize", "sparsity"]) == 2
    said = capsys.readouterr()
    assert said.err == "harness: the model as it is could not be compared: sparsity is 0.00 % of the model as it is\n"
    assert ended == ["trimmed"]
    assert "half" not in said.out
    assert "keeps every limit" not in said.out


def test_the_commands_that_are_told_at_the_end_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suites").mkdir()
    bench = SimpleNamespace(command="harness optimize x", file="suites/test_s.py")

    def told(suite_file: Path | None, *, complete: bool = True, outcome: Outcome = Outcome.COMPLETED) -> str:
        asked = SimpleNamespace(suite_file=suite_file, export=None, resume=False)
        ended = ((frozenset[str](), Outcome.COMPLETED), (frozenset({"half"}), outcome))
        trials = [SimpleNamespace(steps=steps, result=SimpleNamespace(outcome=one)) for steps, one in ended]
        rounds = [[SimpleNamespace(trial=trial)] for trial in trials]
        found = SimpleNamespace(complete=complete, rounds=rounds)
        (line,) = deliver(asked, bench, found, "suite")  # type: ignore[arg-type]
        return line

    for name in ("test_best", "test_best2", "test_best3"):
        assert told(None) == f"to ship it: harness optimize x --resume --export DIR --suite-file suites/{name}.py"
        (tmp_path / "suites" / f"{name}.py").touch()
    cut_short = told(None, complete=False)
    assert cut_short.startswith("to ship it: harness optimize x --resume --budget 1ms --export DIR"), "or it goes on"
    refused = told(None, complete=False, outcome=Outcome.FAILED)
    assert refused.startswith("nothing to ship yet: the time was over, and all techniques that were tried failed")
    assert told(None, outcome=Outcome.FAILED).startswith("to ship it: harness optimize x --resume --export DIR")
    bench.file = "my bench/test_s.py"
    assert told(None).endswith(" --suite-file 'my bench/test_best.py'")
    assert "with: pytest 'suites/test it.py' --baseline=update" in told(Path("suites/test it.py"))


def test_an_artefact_that_is_made_again_with_other_weights_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kept" / "model").mkdir(parents=True)
    artefact = SimpleNamespace(folder=tmp_path / "kept", manifest=SimpleNamespace(weights="aa"))
    bench = SimpleNamespace(artefact=lambda trial: artefact)
    found = SimpleNamespace(best=SimpleNamespace(result=SimpleNamespace(weights="aa")))

    def shipped(name: str) -> str:
        asked = SimpleNamespace(suite_file=None, export=tmp_path / name, resume=True)
        (line,) = deliver(asked, bench, found, "")  # type: ignore[arg-type]
        assert line.startswith(f"artefact: {tmp_path / name}; ")
        assert (tmp_path / name / "model").is_dir()
        return capsys.readouterr().err

    assert shipped("same") == ""
    artefact.manifest.weights = "bb"
    assert "is not bit for bit what was measured, so that its numbers are not proved" in shipped("other")


def test_what_a_search_that_goes_on_ships_is_what_was_measured_however_full_the_cache_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has used no artefact when its search ends, and the oldest are removed: they would be made again."""

    @technique(takes="torch")
    def half(deployment: Deployment) -> Deployment:
        return deployment

    shipped: list[Artefact] = []

    class Shipping(Bench):
        def artefact(self, trial: Trial) -> Artefact:
            shipped.append(super().artefact(trial))
            return shipped[-1]

    def make(cache: ArtefactCache, key: str, *_: object) -> Artefact:
        folder = make_artefact(tmp_path / ".harness" / "artefacts" / key)
        return Artefact(cache.tree, folder, read_manifest(folder), fresh=True)

    def measure(
        bench: Measurer, case: Case, address: Address, suite: str, nodeid: str, _: object
    ) -> tuple[Result, Result | None]:
        weights = bench.cache.get(case, address, bench.logs).manifest.weights
        size = 1e6 if case.technique.id == "reference" else 5e5
        words: dict[str, Any] = {"technique": case.technique.id, "weights": weights}
        return a_case("tiny", size=size, suite=suite, case_id=case.id, nodeid=nodeid, **words), None

    in_a_file([reference, half], tmp_path, monkeypatch)
    ids = iter(("2026-01-01_000000_1", "2026-01-01_000001_1"))
    monkeypatch.setattr(measuring, "run_id", lambda: next(ids))
    monkeypatch.setitem(sys.modules, "test_s", ModuleType("test_s"))
    monkeypatch.setattr(command, "Bench", Shipping)
    monkeypatch.setattr(Measurer, "measure", measure)
    monkeypatch.setattr(ArtefactCache, "_make", make)
    monkeypatch.setattr(ArtefactCache, "trim", functools.partialmethod(ArtefactCache.trim, 0))
    words = ["optimize", "test_s.py", "--model", "tiny", "--minimize", "size"]
    kept = tmp_path / ".harness" / "artefacts"
    assert main(words) == 0
    assert len([*kept.iterdir()]) == 2
    assert main([*words, "--resume", "--export", "best"]) == 0
    assert [one.fresh for one in shipped] == [False]
    assert (tmp_path / "best" / "manifest.json").is_file()
    assert [one.name for one in kept.iterdir()] == [shipped[0].folder.name], "there is no room for more"


def test_a_suite_is_refused_where_pytest_could_not_import_what_it_needs(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("suites", "suites.models", "suites.test_tiny"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(project))
    found = grids_of(load_suite(project, "suites/test_tiny.py"))[0]
    names = Names(project, "suites/test_tiny.py")
    suite_text(names, found.models[0], found.techniques, found.hardware[0], found.metrics, "All.")

    def refusal(target: str, *reached: str) -> str:
        try:
            names.check_importable(project / target, reached)
        except SuiteError as error:
            return str(error)
        return ""

    assert refusal("suites/test_best.py") == ""
    assert refusal("test_best.py") == ""
    said = "pytest could not import suites.models there: put an empty __init__.py into bench, which is no package"
    assert f"{said}, or set pytest's option `pythonpath = .`" in refusal("bench/test_best.py")
    assert refusal("bench/test_best.py", str(project)) == ""
    assert refusal("bench/test_best.py", str(project / "bench")) != ""

    class Editable:
        """As the finder of an editable installation, which has no folder on the path."""

        @staticmethod
        def find_spec(name: str, path: object, target: object = None) -> object:
            return ModuleSpec(name, None) if name == "suites" else None

    with monkeypatch.context() as within:
        within.setattr(sys, "meta_path", [*sys.meta_path, Editable])
        assert refusal("bench/test_best.py") == ""
    (project / "suites" / "__init__.py").unlink()
    assert "__init__.py into suites, which is no package" in refusal("suites/test_best.py")
    (project / "conftest.py").touch()
    assert refusal("bench/test_best.py") == refusal("suites/test_best.py") == ""
    for name in ("suites", "suites.models", "suites.test_tiny"):
        sys.modules.pop(name, None)


def test_what_others_follow_needs_a_name_as_well(project: Path, refused: Callable[..., str]) -> None:
    (project / "suites" / "test_tiny.py").write_text(MAKER, encoding="utf-8")
    said = refused("--technique", "lean", "--suite-file", "suites/test_best.py")
    assert "'exported' has no name in a module of" in said
    assert not (project / "suites" / "test_best.py").exists()
    assert not (project / "reports").exists()


def test_grids_of_a_model_mean_the_same_by_a_metric(project: Path, refused: Callable[..., str]) -> None:
    suite = project / "suites" / "test_tiny.py"
    other = "metrics=[OWN.with_tolerance(0.1)]"
    suite.write_text(SUITE.replace("hardware=[cpu], metrics=[OWN]", f"hardware=[cpu], {other}"), encoding="utf-8")
    assert "metric per_item differs between two grids of one model" in refused()
    more = SUITE.replace("model=[tiny], technique=[distilled", "model=[student], technique=[distilled")
    suite.write_text(more.replace("hardware=[cpu], metrics=[OWN]", f"hardware=[cpu], {other}"), encoding="utf-8")
    assert "no metric 'wishes'" in refused("--minimize", "wishes")
    # That of a grid on other hardware holds here as well, as it does where pytest judges.
    elsewhere = SUITE.replace("    metrics=[OWN],\n", "").replace("hardware=[cpu], metrics", "hardware=[cuda], metrics")
    suite.write_text(elsewhere.replace("import cpu", "import cpu, cuda"), encoding="utf-8")
    assert "write --minimize per_item" in refused("--maximize", "per_item")


@pytest.mark.parametrize("project", ["project", "harness", ".venv/site-packages"], indirect=True)
def test_a_pipeline_is_written_as_python_with_its_imports(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("suites", "suites.models", "suites.test_tiny"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(project))
    grids = grids_of(load_suite(project, "suites/test_tiny.py"))
    names = Names(project, "suites/test_tiny.py")
    pipelines = [pipeline for one in grids for pipeline in one.techniques]
    assert [names.of(pipeline) for pipeline in pipelines] == [
        "reference",
        "onnxruntime(level='basic')",
        "pruned_channels(fraction=0.5, finetune=False) | onnxruntime",
        "distilled(into=student) | batched(n=4)",
    ]
    model, place = grids[0].models[0], grids[0].hardware[0]
    text = suite_text(Names(project, "suites/test_tiny.py"), model, pipelines, place, grids[0].metrics, "All.")
    (project / "suites" / "test_written.py").write_text(text, encoding="utf-8")
    written = grids_of(load_suite(project, "suites/test_written.py"))
    assert [pipeline.id for pipeline in written[0].techniques] == [Pipeline(p.steps).id for p in pipelines]
    assert written[0].metrics == grids[0].metrics
    for name in ("suites", "suites.models", "suites.test_tiny", "suites.test_written"):
        sys.modules.pop(name, None)


def test_a_written_suite_holds_the_values_that_were_measured(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("suites", "suites.large", "suites.small", "suites.test_tiny", "suites.test_written")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(project))
    (project / "suites" / "large.py").write_text(MODELS.replace("tiny =", "model ="), encoding="utf-8")
    (project / "suites" / "small.py").write_text(SMALL, encoding="utf-8")
    (project / "suites" / "test_tiny.py").write_text(NAMESAKES, encoding="utf-8")
    first, unwritable = grids_of(load_suite(project, "suites/test_tiny.py"))
    (model,), (place,) = first.models, first.hardware

    def written(pipelines: Sequence[Pipeline]) -> str:
        return suite_text(Names(project, "suites/test_tiny.py"), model, pipelines, place, (), "All.")

    (project / "suites" / "test_written.py").write_text(written(first.techniques), encoding="utf-8")
    (again,) = grids_of(load_suite(project, "suites/test_written.py"))
    assert again.models == first.models
    assert again.techniques == first.techniques
    with pytest.raises(SuiteError, match=r"'a\.bin' has no name in a module of"):
        written(unwritable.techniques)
    for name in names:
        sys.modules.pop(name, None)


def test_a_suite_that_is_no_python_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("suites", "suites.models", "suites.test-tiny"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(project))
    (project / "suites" / "test-tiny.py").write_text(SUITE, encoding="utf-8")
    found = grids_of(load_suite(project, "suites/test-tiny.py"))[0]
    names = Names(project, "suites/test-tiny.py")
    with pytest.raises(SuiteError, match=r"would be no Python: from suites\.test-tiny import OWN"):
        suite_text(names, found.models[0], found.techniques, found.hardware[0], found.metrics, "All.")
    for name in ("suites", "suites.models", "suites.test-tiny"):
        sys.modules.pop(name, None)


def test_what_keeps_no_limit_is_neither_recommended_nor_shipped_and_the_code_is_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @technique(takes="torch")
    def half(deployment: Deployment) -> Deployment:
        return deployment

    goals: list[Goal] = []

    class Large:
        """A bench on which everything takes more than it may."""

        notice, finals, folder = "", (), tmp_path

        def __init__(self, *, goal: Goal, space: Space, progress: Callable[[str], None], **_: object) -> None:
            goals.append(goal)
            self.space, self.progress = space, progress

        def measure(self, pipeline: Pipeline, best: object) -> Trial:
            case = self.space.case(pipeline)
            result = Result("s", case.id, "", "tiny", pipeline.id, "cpu", Outcome.COMPLETED)
            return Trial(case, result, (0.0,), broken=("size 2.00 MB",))

        def known(self, pipeline: Pipeline) -> None:
            return None

        def artefact(self, trial: Trial) -> None:
            raise AssertionError("it was shipped")

        def finish(self, *, complete: bool) -> SimpleNamespace:
            return SimpleNamespace(id="run", seconds=1.0)

        def trim(self) -> None:
            pass

    in_a_file([reference, half], tmp_path, monkeypatch)
    monkeypatch.setattr(command, "Bench", Large)
    limits = "--max-accuracy-drop 1% --max-memory 2.5MB --max-size 1.5MB --max-latency 3ms"
    assert main(["optimize", "test_s.py", "--model", "tiny", *limits.split(), "--export", "best"]) == 1
    asked: tuple[Limit, ...] = goals[0].limits
    assert [(one.metric, one.unit) for one in asked] == [
        ("accuracy", "share"),
        ("memory.peak", "bytes"),
        ("size", "bytes"),
        ("latency.p95", "s"),
    ]
    assert [one.value for one in asked] == pytest.approx([0.01, 2.5e6, 1.5e6, 0.003])
    printed = capsys.readouterr().out
    assert "nothing that was tried keeps every limit" in printed
    assert "recommended: " not in printed
    assert not (tmp_path / "best").exists()
    assert json.loads((tmp_path / "optimize.json").read_text(encoding="utf-8"))["recommended"] is None
