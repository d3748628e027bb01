"""Sample services that fill a warehouse, their true preferences, and the recipe of the tiny Llama that scores them."""
