"""The door of the daemon: who may come in, and what each command does."""
