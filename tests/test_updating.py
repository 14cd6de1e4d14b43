"""An update that can't be written, or has nothing sound to extend, is said of its case, in a run that is reported."""

from __future__ import annotations

from pathlib import Path

from tests.folder import PLAN, Folder

UPDATE = ("--baseline=update", "--reason", "first figures", *PLAN)
CASE = "tiny_onnx/reference/cpu"
FIXTURE = """
@pytest.fixture(autouse=True)
def promise():
    yield
    raise ValueError("it took too long")

"""


def errors(folder: Folder) -> list[dict]:
    return [one for one in folder.run()["comparisons"] if one["verdict"] == "error"]


def test_a_baseline_that_cant_be_written_or_was_damaged_is_an_error_of_its_case(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "project")
    for name in ("test_first", "test_second"):
        grid = "@grid(model=[tiny], technique=[reference], hardware=[cpu])\ndef test_it(case, bench): bench(case)"
        folder.suite(name, grid)
    folder.suite("test_third", f"{FIXTURE}\n{grid}")
    (folder.path / "baselines").mkdir()
    (folder.path / "baselines" / "first").write_text("a file, where the folder of the suite should be")
    code, text = folder.pytest("suites", *UPDATE)
    assert code == 1, text
    assert "Traceback" not in text
    assert f"FAILED: the baselines of 1 case were not written: first/{CASE}" in text
    error, broken = sorted(errors(folder), key=lambda one: str(one["suite"]))
    # A promise of a fixture is one of its test, whose case is accepted no more than where its body breaks one.
    assert (broken["suite"], broken["case_id"]) == ("third", CASE)
    assert "the test failed: ValueError: it took too long" in broken["reason"]
    assert not (folder.path / "baselines" / "third").exists()
    assert (error["suite"], error["case_id"]) == ("first", CASE)
    assert "can't be written" in error["reason"]
    latest = (folder.path / "reports" / "latest").resolve().name
    assert f"harness accept --case first/{CASE} --from reports/{latest} " in error["reason"]
    assert folder.run()["complete"]
    assert (folder.path / "reports" / "latest" / "index.html").exists()
    # The result beside one that was damaged is kept.
    (portable,) = (folder.path / "baselines" / "second").rglob("portable.json")
    damaged = "<<<<<<< ours\n" + portable.read_text()
    portable.write_text(damaged)
    code, text = folder.pytest("suites/test_second.py", *UPDATE)
    assert code == 1, text
    assert folder.result(CASE)["outcome"] == "completed"
    (error,) = errors(folder)
    assert "portable.json" in error["reason"]
    assert portable.read_text() == damaged
