"""Runtimes: what executes a network. Importing this package imports no runtime."""
