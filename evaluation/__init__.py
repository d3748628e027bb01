"""How good choices are."""
