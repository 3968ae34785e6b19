"""hubview: the dashboard, a window whose page speaks the protocol of the daemon.

`server` serves the page, `requests` answers it, `window` shows it, `page/` is the page itself. Closing the
window changes nothing for the campaigns: they run in the daemon.
"""
