"""What reads the tables that a night made: one user's choices, what a night did, and whether two warehouses are equal."""
