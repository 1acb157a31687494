"""What runs beside requests: one worker a file, run by `runtime.py`."""
