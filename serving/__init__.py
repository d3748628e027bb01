"""Readers of the tables that a night made: a user's choices, a night's summary, and whether two runs are equal."""
