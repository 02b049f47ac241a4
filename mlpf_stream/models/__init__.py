"""Networks over packed rows: layout, layers, heads, loss, artifact. Torch only."""
