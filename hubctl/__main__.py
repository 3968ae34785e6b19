"""`python -m hubctl` and the `hubctl` script."""

from __future__ import annotations

import os
import sys

from hubctl.cli import hubctl
from hubctl.streams import prepare_streams


def main() -> None:
    """Run the command line of this process."""
    prepare_streams()
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
