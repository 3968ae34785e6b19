"""Who runs, and how one campaign travels from its first recipient to its last."""
