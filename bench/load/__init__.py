"""The load: keep-alive connections that ask again as soon as they are answered.

`python -m bench.load` is the load test of one's own installation; `Load` does the jobs of the benches.
"""

from bench.load.jobs import CONTENT_TYPE, Job, Load, LoadFailed, Outcome

__all__ = ["CONTENT_TYPE", "Job", "Load", "LoadFailed", "Outcome"]
