"""The outbox: messages become files, and none leaves this machine."""
