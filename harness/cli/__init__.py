"""The command `harness`: one module a command, and what they share."""
