"""Measuring, seen from the parent: children, artefacts, launches, and what becomes a `Result`."""
