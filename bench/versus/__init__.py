"""Versus: valetstore beside what else people would use, in one run, in turns: `python -m bench.versus`."""
