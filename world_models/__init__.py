"""World models: an encoder and a latent model ``(P̄, R̄, D̄)`` behind one contract (``contract.py``)."""
