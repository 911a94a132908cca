"""The command line: train many models, serve them, and show the whole story."""
