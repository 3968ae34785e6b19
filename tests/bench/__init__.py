"""How fast MessageHub is, measured beside what you would use instead: `python -m tests.bench --help`.

benches/   one module per bench: what is measured
senders/   the programs it is compared with, each a process of its own
servers/   what they send to
runner     takes the measurements, round by round
summary    medians, ratios and tables: pure functions
"""
