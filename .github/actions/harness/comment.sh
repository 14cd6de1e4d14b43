#!/usr/bin/env bash
# comment.sh FOLDER: write, replace or remove the harness's comment on the pull request of HEAD_OWNER:HEAD_BRANCH.
# Each gate has one of its own, by the gate.txt that its step has left in the folder.
# Needs gh with GH_TOKEN, and REPOSITORY, HEAD_OWNER, HEAD_BRANCH, HEAD_SHA, RUN_URL.
set -euo pipefail

folder=$1
drawn=$(mktemp -d)
trap 'rm -rf "$drawn"' EXIT

# Of a run that was killed there is only the journal. Both are read strictly, and nothing else in the folder is.
record=$folder/run.json
if [[ ! -e $record && -e $folder/journal.jsonl ]]; then record=$folder/journal.jsonl; fi
harness report "$record" --output "$drawn" --comment "$drawn/comment.md" >/dev/null

# The pull request is asked for, not read from the artefact, which its author could have written.
number=$(gh api --method GET "repos/$REPOSITORY/pulls" -f state=open -f head="$HEAD_OWNER:$HEAD_BRANCH" \
    --jq "map(select(.head.sha == \"$HEAD_SHA\")) | .[].number")
# Of which one the run was is not known, and each is held against another base.
if [[ $number == *$'\n'* ]]; then
    echo "several open pull requests are at $HEAD_SHA, so no comment"
    exit 0
fi
if [[ ! $number =~ ^[0-9]+$ ]]; then
    echo "no open pull request is at $HEAD_SHA any more"
    exit 0
fi

comment_of() {
    gh api --paginate "repos/$REPOSITORY/issues/$number/comments" --jq \
        "map(select(.user.login == \"github-actions[bot]\" and (.body | startswith(\"$1\")))) | .[].id" | head -n 1
}

marker="<!-- harness -->"
old=
if [[ -f $folder/gate.txt ]]; then
    # The author could have written that too: what is no part of a path must reach neither the query nor the comment.
    name=$(head -c 200 "$folder/gate.txt" | tr -cs 'A-Za-z0-9._/-' ' ')
    marker="<!-- harness: ${name% } -->"
    old=$(comment_of "$marker")
fi
# A comment that names no gate is of the time before they did.
[[ -n $old ]] || old=$(comment_of "<!-- harness -->")
if [[ ! -s $drawn/comment.md ]]; then
    [[ -z $old ]] || gh api --method DELETE "repos/$REPOSITORY/issues/comments/$old"
    echo "nothing to do, so no comment"
    exit 0
fi
sed -i "1s|.*|$marker|" "$drawn/comment.md"
printf '\nThe whole report is an artefact of [this run](%s).\n' "$RUN_URL" >>"$drawn/comment.md"
if [[ -n $old ]]; then
    gh api --method PATCH "repos/$REPOSITORY/issues/comments/$old" -F "body=@$drawn/comment.md" >/dev/null
else
    gh api --method POST "repos/$REPOSITORY/issues/$number/comments" -F "body=@$drawn/comment.md" >/dev/null
fi
