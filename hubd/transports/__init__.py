"""What providers are reached with: TCP, TLS, HTTP, OAuth 2.0, and looking up names."""
