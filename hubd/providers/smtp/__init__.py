"""Email through a mail server (RFC 5321)."""
