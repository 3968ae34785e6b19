"""What the hub reports automatically: notifications by email."""
