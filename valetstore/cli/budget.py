"""`--budget rate=2.5,burst=5,transfers=1`: one option for what belongs together, in `sign` and `keys create`."""

import re
from typing import Any, Final

import click

from valetstore.grants.grant import Budget

_MEMBER: Final = re.compile(r"(rate)=([0-9]{1,9}(?:\.[0-9]{1,9})?)|(burst|transfers)=([0-9]{1,9})", re.ASCII)


class BudgetOption(click.ParamType[Any]):
    """Some of rate, burst and transfers, as NAME=NUMBER with commas between."""

    name = "budget"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Budget:
        """The budget, or a usage error that says what is allowed."""
        if isinstance(value, Budget):
            return value
        said: dict[str, Any] = {}
        for part in value.split(","):
            found = _MEMBER.fullmatch(part.strip())
            if not found or (found[1] or found[3]) in said:
                self.fail(f"{value!r}: must be some of rate=N, burst=N, transfers=N, each once", param, ctx)
            said |= {"rate": float(found[2])} if found[1] else {found[3]: int(found[4])}
        try:
            return Budget(**said)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


def budget_option(about: str) -> Any:
    """The option, and what it is for where it stands."""
    return click.option(
        "--budget",
        type=BudgetOption(),
        metavar="BUDGET",
        help=f"{about}: rate=2.5 requests a second, burst=5 of them at once, transfers=1 at once.",
    )
