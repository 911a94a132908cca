"""``mme plan``: how many instances of which type an endpoint needs, and what they cost."""
