"""The child process: prepares an artefact, serves an arm, evaluates, measures memory.

Modules here import each other relatively and everything else as `harness.…`: a worker of the running harness can then
serve a tree that brings its own models, techniques and runtimes.
"""
