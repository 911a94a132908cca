"""``mme deploy`` and its kin: from one small file to a running endpoint, and back to nothing."""
