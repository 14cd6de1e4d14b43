"""The command line: `harness report`, `compare`, `accept`, `prune` and `doctor`, one module a command."""
