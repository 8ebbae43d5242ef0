"""How fast and how lean valetstore is, measured: `python -m bench` runs all. README.md has method and figures."""
