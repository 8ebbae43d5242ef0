"""How fast and how lean valetstore is, measured. `python -m bench` runs everything; README.md says how and what came out."""
