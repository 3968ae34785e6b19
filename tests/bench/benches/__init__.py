"""The benches by name. Each module has a TITLE, its number of ROUNDS, and `points(settings)`."""
