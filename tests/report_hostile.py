"""Names that try to break out of a report, and a run that is full of them."""

from __future__ import annotations

import dataclasses

from harness.records import Comparison, Environment, Estimate, Evidence, Measurement, Outcome, Run, Verdict
from tests.report_samples import sample_run

HOSTILE = (
    "<script>document.title='owned'</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style><style>body{display:none}</style>",
    "</details></section></main><h1>gone",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "http://example.com/x.js",
    "![x](http://example.com/track.png)",
    "[click](javascript:alert(1)) | **bold** | `code` ``` ~~~",
    "</summary>| a | b |\n|---|---|\n# heading",
    "::error file=x,line=1::owned\n::set-output name=a::b\r\n##[command]x",
    "%0A::warning::x%0D",
    "\x1b[31mred\x1b[0m\x1b]0;title\x07\x1b[2J\x9b31m",
    "=cmd|'/C calc'!A0",
    "@octocat #1 www.example.com WWW.example.com <!-- comment",
    "]]>&lt;&amp;&#0;",
    "\u202egnp.exe\u202c\u2028\u2029\ufeff",
    "nul\x00byte",
    "surrogate\udcff",
    "x" * 3000,
)


def hostile_run() -> Run:
    """A run in which every name, reason, log and fact is hostile, one payload a case."""
    run = sample_run(1, 2, samples=8)
    good = run.results[1]
    results, comparisons = [], []
    for i, text in enumerate(HOSTILE):
        case_id = f"{text}/{text}/{i}"
        failed = i % 3 == 2
        results.append(
            dataclasses.replace(
                good,
                suite=f"{text}.py",
                case_id=case_id,
                nodeid=f"{text}.py::test[{text}]",
                model=text,
                technique=("reference" if i % 3 == 0 else text),
                hardware="cpu",
                outcome=Outcome.CRASHED if failed else Outcome.COMPLETED,
                reason=text if failed else "",
                log=text,
                warnings=(text,),
                evidence=(Evidence(text, text, text, not failed),),
                facts={text: text},
                workload={text: text},
                seconds={text: 1.0},
                measurements=() if failed else (*good.measurements, Measurement(text, Estimate(1, 1, 1), (1.0,))),
                launches=() if failed else good.launches,
            )
        )
        verdict = Verdict.ERROR if failed else Verdict.REGRESSED
        comparisons.append(
            Comparison(
                f"{text}.py",
                case_id,
                "case" if failed else text,
                verdict,
                f"It got worse: {text}",
                None if failed else Estimate(1.0, 0.9, 1.1, 3, 3),
                None if failed else Estimate(2.0, 1.9, 2.1, 3, 3),
                None if failed else Estimate(1.0, 0.9, 1.1, 3, 3),
                0.1,
                unit=text,
            )
        )
    environment = Environment(
        hardware={"cpu": dict.fromkeys(HOSTILE, HOSTILE[0])},
        software=dict.fromkeys(HOSTILE, HOSTILE[1]),
        state=dict.fromkeys(HOSTILE, HOSTILE[2]),
        commit=HOSTILE[0],
        dirty=True,
    )
    return dataclasses.replace(
        run,
        id=HOSTILE[1],
        command=" ".join(HOSTILE[:-1]),
        environment=environment,
        results=tuple(results),
        comparisons=tuple(comparisons),
        plan=dict.fromkeys(HOSTILE, HOSTILE[0]),
        started=HOSTILE[0],
        metrics=tuple({"name": text, "unit": text, "better": "lower", "help": text} for text in HOSTILE),
        baselines={text: {"commit": text, "when": text, "reason": text, "differs": text} for text in HOSTILE},
    )
