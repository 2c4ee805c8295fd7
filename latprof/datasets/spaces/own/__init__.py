"""Search spaces of a user's own, made of what they have."""
