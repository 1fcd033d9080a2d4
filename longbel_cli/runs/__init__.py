"""The parts of a run on disk: opening, leases, windows, ledger, files, signals, publication.

None of them knows a model, a decoder or a corpus format. `longbel_cli.runs.run` puts them together.
"""
