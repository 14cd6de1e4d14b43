"""The committed baseline: what it holds (`records`), where it lies (`store`), how it changes (`accept`), and how a
result is held to it (`compare`).
"""
