"""What a server's certificates are checked against."""

from __future__ import annotations

import ssl
from pathlib import Path

from hubd.errors import BadConfig


def client_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """A context that trusts the certificates in this PEM file, or those of the system.

    Raises `BadConfig` for a file that cannot be used, and `OSError` when the system's certificates cannot be
    read, for lack of file descriptors for instance.
    """
    if ca_file is not None:
        try:
            return ssl.create_default_context(cafile=ca_file)
        except (OSError, ValueError) as problem:
            why = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
            raise BadConfig(
                f"the ca_file {ca_file} cannot be used: {why}",
                hint="It must be a readable file with certificates in PEM form.",
            ) from None
    paths = ssl.get_default_verify_paths()
    if paths.cafile is None and paths.capath is None:  # slim containers come without certificates
        import certifi

        return ssl.create_default_context(cafile=certifi.where())
    context = ssl.create_default_context()
    if paths.cafile is not None and not context.cert_store_stats()["x509_ca"]:
        # OpenSSL reports no error if it cannot open the system's file, for lack of a descriptor for instance.
        # Then every certificate would look forged. Naming the file makes it report the error.
        context.load_verify_locations(cafile=paths.cafile)
    return context
