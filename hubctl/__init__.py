"""hubctl, the command line of MessageHub. It talks to a running hubd and to nothing else."""
