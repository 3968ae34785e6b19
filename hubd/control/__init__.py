"""The control socket of the daemon: who may connect, and what each command does."""
