"""Email through the SendGrid Web API v3."""
