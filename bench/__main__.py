"""All benches, or those that are named: `python -m bench [PART ...] [--quick] [--json FILE]`."""

from bench import budgets, dialects, lists, memory, replay, revocations, s3, serve, upload, verify, workers
from bench.options import measure, parser

PARTS = {
    "verify": verify.run,
    "dialects": dialects.run,
    "serve": serve.run,
    "upload": upload.run,
    "lists": lists.run,
    "s3": s3.rates,
    "memory": memory.run,
    "budgets": budgets.run,
    "replay": replay.run,
    "revocations": revocations.run,
    "workers": workers.rates,
    "claims": workers.claims,
    "crew": workers.crew,
}

if __name__ == "__main__":
    command = parser(__doc__)
    command.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART", help=f"one of {', '.join(PARTS)}")
    options = command.parse_args()
    measure(options, [PARTS[name] for name in options.parts or PARTS], whole=not options.parts)
