"""Off-policy evaluation: how good a policy's choices are."""
