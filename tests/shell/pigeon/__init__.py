"""A kind of provider that is not part of the product: all that a new kind needs, in one folder."""
