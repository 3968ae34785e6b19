"""The functional core: decisions without async, I/O, clock, randomness or logging.

Start with `lifecycle`, the two tables of what may happen to a campaign and to a delivery.
"""
