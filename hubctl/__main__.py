"""`python -m hubctl` and the `hubctl` script."""

from __future__ import annotations

from hubctl.cli import hubctl


def main() -> None:
    """Run the command line of this process."""
    hubctl.main()


if __name__ == "__main__":
    main()
