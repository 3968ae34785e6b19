"""The accounts that messages go out through: one folder for each kind, and `registry`, which names them.

    kind.py        what a kind declares about itself; each folder has a `kind.py` with its own
    settings.py    what all kinds have in common in hubd.toml
    questions.py   what `hubctl provider add` asks; each folder has a `questions.py` with its own

A folder's `kind` and `questions` are imported when somebody needs that kind, and heavy modules when an
account is opened. What kinds connect with (TCP, TLS, HTTP, access tokens) is in `hubd.transports`.
"""
