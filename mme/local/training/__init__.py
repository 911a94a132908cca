"""Training jobs: each a state machine over real processes of ``mme train``."""
