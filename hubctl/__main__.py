"""`python -m hubctl` and the `hubctl` script."""

from __future__ import annotations

import os
import sys

from hubctl.cli import hubctl


def main() -> None:
    """Run the command line of this process."""
    if sys.stdin is None:  # closed: nobody types, which is not a fault of ours
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    if sys.stderr is None:  # nobody listens; stdout stays what it is, because data that is lost is told
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    wanted = os.environ.get("HUBCTL_DEBUG", "")
    if wanted and "_HUBCTL_COMPLETE" not in os.environ:  # a shell would show it while a command is typed
        _debug(wanted)
    hubctl.main()


def _debug(wanted: str) -> None:
    """Write to stderr what goes over the wire: `HUBCTL_DEBUG=rpc`."""
    if wanted != "rpc":
        sys.stderr.write("warning: HUBCTL_DEBUG knows only: rpc\n")
        return
    import logging

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("rpc %(message)s"))
    logging.raiseExceptions = False  # a reader of stderr that went away is no reason to fail
    log = logging.getLogger("hubd.client.frames")
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)


if __name__ == "__main__":
    main()
