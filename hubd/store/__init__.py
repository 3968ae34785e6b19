"""The database: the only SQL of the program, behind one method per unit of work."""
