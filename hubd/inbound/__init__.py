"""What comes back: sources of receipts, bounces and replies, and the task that reads them."""
