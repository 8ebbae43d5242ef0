"""What a shared access signature lets its holder do: the letters of `sp`, `ss` and `srt`, and what they open.

Rule 1: a letter that Azure does not have, one given twice, or one out of order makes the key malformed, as at Azure.
Rule 2: letters open operations (`operations.Action.letters`), not verbs: `w` alone reads nothing.

Sources: "Create a service SAS" and "Create an account SAS", the tables of permissions.
"""

from typing import Final

from valetstore.grants.azure.operations import Action

SERVICE_ORDER: Final = "racwdl"
ACCOUNT_ORDER: Final = "rwdlacup"
"""The order that Azure asks for. Letters that came later stand where each SDK puts them: they have no order here."""
_LATER_SERVICE: Final = "xytfmeopi"
_LATER_ACCOUNT: Final = "xytfi"

SERVICES: Final = "bqtf"
RESOURCE_TYPES: Final = "sco"

_OPERATIONS: Final = {"r": "read", "c": "write", "w": "write", "d": "delete", "x": "delete", "l": "list"}


def in_order(letters: str, *, account: bool) -> bool:
    """Whether this is an `sp` as Azure takes it; an empty one is not."""
    order, later = (ACCOUNT_ORDER, _LATER_ACCOUNT) if account else (SERVICE_ORDER, _LATER_SERVICE)
    known = [order.index(letter) for letter in letters if letter in order]
    return is_set_of(letters, order + later) and known == sorted(known)


def is_set_of(letters: str, known: str) -> bool:
    """Whether these are some of the known letters, each once."""
    return bool(letters) and len(set(letters)) == len(letters) and set(letters) <= set(known)


def opens(action: Action, letters: str, resource_types: str | None) -> bool:
    """Whether these permissions open an operation. `resource_types` is `srt`, None for a service SAS."""
    if resource_types is None:
        return action.by_service_sas and not set(action.letters).isdisjoint(letters)
    return action.level in resource_types and not set(action.letters).isdisjoint(letters)


def operations_of(letters: str) -> frozenset[str]:
    """What they open in our own terms, whatever is asked for."""
    return frozenset(_OPERATIONS[letter] for letter in letters if letter in _OPERATIONS)


def is_create_only(letters: str) -> bool:
    """Whether they make new blobs and replace none."""
    return "c" in letters and "w" not in letters
