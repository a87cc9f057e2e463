"""Measures what the project promises about time, CPU, memory and loss: `python -m bench`."""
