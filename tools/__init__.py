"""What an agent can call: one small module per tool; `registry.py` lists them."""
