#!/usr/bin/env bash
# The step of the action: pytest with the right comparison, then the job summary, also when the gate is red.
# What comes from a workflow comes as environment variables, so that none of it is read as shell.
set -euo pipefail

summary=${GITHUB_STEP_SUMMARY:-/dev/null}
output=${GITHUB_OUTPUT:-/dev/null}
python=${HARNESS_PYTHON:-python}

# What pytest and git run is the folder's, which may be a checkout of its own; a path to an interpreter is the workspace's.
folder=${HARNESS_FOLDER:-.}
if [[ $python == */* && $python != /* ]]; then python=$PWD/$python; fi
cd "$folder" || { echo "::error title=harness::the folder $folder is not there"; exit 2; }

# On this event a checkout that is told nothing is of the base branch: whatever the pull request changes would be green.
if [[ ${GITHUB_EVENT_NAME:-} == pull_request_target && -n ${HARNESS_HEAD:-} ]] &&
    ! grep -qxE "(parent )?$HARNESS_HEAD" < <(git rev-parse HEAD; git cat-file commit HEAD | sed '/^$/q'); then
    echo "::error title=harness::what is checked out is not this pull request; let the workflow run on pull_request"
    exit 2
fi

against=${HARNESS_AGAINST:-base}
if [[ $against == base ]]; then
    against=${HARNESS_BASE:-}
    # What is checked out may be the merge into the newest commit of the base branch, and the event's base be older: what
    # others did between them is not this pull request's. The raw commit is read, since a shallow clone hides parents.
    if [[ -n $against && -n ${HARNESS_HEAD:-} ]]; then
        mapfile -t parents < <(git cat-file commit HEAD | sed -n '/^$/q; s/^parent //p')
        if [[ ${#parents[@]} == 2 && ${parents[1]} == "$HARNESS_HEAD" ]]; then against=${parents[0]}; fi
    fi
    # A checkout of one commit does not have the base.
    if [[ -n $against ]] && ! git cat-file -e "$against^{commit}" 2>/dev/null; then
        git fetch --no-tags --depth=1 origin "$against" || {
            echo "::error title=harness::the base $against can't be fetched; check out with fetch-depth: 0"
            exit 2
        }
    fi
    # Where the pull request's own head is checked out, what the base branch got since the fork is not in it.
    if [[ -n $against && -n ${HARNESS_HEAD:-} && $(git rev-parse HEAD) == "$HARNESS_HEAD" ]]; then
        if fork=$(git merge-base "$against" HEAD); then
            against=$fork
        else
            echo "::warning title=harness::this clone does not hold the commit at which the pull request forked, so it" \
                "is compared with the newest one of its base; check out with fetch-depth: 0"
        fi
    fi
elif [[ $against == baseline ]]; then
    against=
fi

# Words are split as a shell splits them, and nothing in them is expanded or run.
mapfile -d '' words < <("$python" -c '
import os, shlex, sys
words = shlex.split(os.environ.get("HARNESS_SUITES") or "suites/") + shlex.split(os.environ.get("HARNESS_ARGUMENTS", ""))
sys.stdout.write("".join(f"{word}\0" for word in words))')
[[ ${#words[@]} -gt 0 ]] || { echo "::error title=harness::arguments can't be split into words"; exit 2; }
if [[ -n $against ]]; then
    words+=("--against=$against")
else
    # In front, so that what the workflow's arguments say of baselines goes before it.
    words=(--baseline=compare "${words[@]}")
fi

before=$(readlink reports/latest || true)
code=0
"$python" -m pytest "${words[@]}" || code=$?

after=$(readlink reports/latest || true)
if [[ -n $after && $after != "$before" ]]; then
    kept=${folder%/}/reports/$after
    echo "folder=${kept#./}" >>"$output"
    # Which of a repository's gates it is, so that its comment on the pull request is not another one's.
    echo "$folder ${HARNESS_SUITES:-suites/} ${HARNESS_ARTIFACT:-report}" >"reports/$after/gate.txt"
    # GitHub drops a summary of more than a MiB whole; ours is cut below that.
    cat "reports/$after/summary.md" >>"$summary" || true
    # The folder is there from the beginning, the record from the end.
    [[ $code != 0 || -s reports/$after/run.json ]] || { echo "::error title=harness::the run did not end"; code=2; }
else
    echo "::error title=harness::nothing was run, so there is no report"
    [[ $code != 0 ]] || code=2
fi
exit "$code"
