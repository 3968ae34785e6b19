"""What the hub reports by itself: notifications by email."""
