"""The process that `Load` starts: `python -m bench.load.worker`, jobs in, one a line of JSON, outcomes out."""

import sys

import msgspec

from bench.load.jobs import Job, do


def main() -> None:
    """Until its input ends."""
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(msgspec.json.encode(do(msgspec.json.decode(line, type=Job))) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
