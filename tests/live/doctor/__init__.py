"""avcheckctl doctor on a real Postfix and clamd, with one fault at a time."""
