"""What reads the tables that a night made: a user's choices, what the night did, and whether two runs are equal."""
