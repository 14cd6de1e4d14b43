"""The bundled suites: real models with real labelled data. `python -m suites.fetch` brings the data."""
