"""One file per kind of provider. Each maps foreign answers to `core.model.Answer` at one seam."""
