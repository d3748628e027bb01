"""The sample services that fill a warehouse, the truth behind them, and the tiny Llama that chooses on them."""
