"""Ctrl-C where Python loses it, or makes something else of it than an exit status.

What is needed only then is imported then: most commands are over before anybody interrupts them.
"""

from __future__ import annotations

import sys


def repeat_lost_interrupts() -> None:
    """Repeat an interrupt that was raised in a destructor, where Python only reports it and continues."""
    report = sys.unraisablehook

    def repeat(lost: sys.UnraisableHookArgs) -> None:
        if lost.exc_type is not KeyboardInterrupt:
            report(lost)
            return
        import threading

        # By then the destructor is over; if not, it comes once more.
        again = threading.Timer(0.01, _interrupt)
        again.daemon = True
        again.start()

    sys.unraisablehook = repeat


def hear_no_more_signals() -> None:
    """Make sure that the exit status is 130 and nothing else.

    Python remembers an interrupt that came inside exec(), which creates the dataclasses of a module being
    imported, and then ends itself with a SIGINT of its own instead of exiting.
    """
    import signal

    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _interrupt() -> None:
    """Interrupt the main thread, even while it waits in a system call."""
    import signal
    import threading
    from _thread import interrupt_main

    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        interrupt_main()
