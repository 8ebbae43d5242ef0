"""What `valetstore sign` makes of conditions that S3's and Google's SDKs do not know, and the page of a form.

Rule: a condition is signed, or refused with the reason: none that was asked for is left out in silence.
"""

from html import escape

from valetstore.cli.wanted import Asked
from valetstore.errors import ConfigInvalid
from valetstore.grants.claims import Claims, as_list
from valetstore.grants.presign import Condition, Form


def conditions_of(claims: Claims) -> dict[str, str]:
    """The conditions that no cloud knows, as parameters of a URL and fields of a form."""
    said = {
        "x-valet-uses": claims.uses,
        "x-valet-window": claims.window or None,
        "x-valet-length": None if claims.length is None else "-".join(map(str, claims.length)),
        "x-valet-type": ",".join(as_list(claims.type)) or None,
        "x-valet-ip": ",".join(as_list(claims.ip)) or None,
        "x-valet-create": "true" if claims.create else None,
    }
    return {name: str(value) for name, value in said.items() if value is not None}


def form_terms(claims: Claims, asked: Asked) -> tuple[list[Condition], dict[str, str]]:
    """The conditions of a form's policy, and its fields with those that were asked for by their names.

    Raises ConfigInvalid for what a policy cannot say. The body's digest is the vendor's own to name.
    """
    conditions: list[Condition] = []
    fields = conditions_of(claims)
    if claims.length is not None:
        del fields["x-valet-length"]
        conditions.append(["content-length-range", *claims.length])
    if claims.type is not None:
        del fields["x-valet-type"]
        condition, known = _type_condition(as_list(claims.type))
        conditions.append(condition)
        fields |= known
    fields |= dict(asked.headers)
    fields |= {"success_action_status": asked.success_status} if asked.success_status else {}
    fields |= {"success_action_redirect": asked.success_redirect} if asked.success_redirect else {}
    return conditions, fields


def _type_condition(patterns: list[str]) -> tuple[Condition, dict[str, str]]:
    """A policy's condition on the content type, and the field where there is but one value for it."""
    if len(patterns) == 1 and not patterns[0].endswith("*"):
        return ["eq", "$Content-Type", patterns[0]], {"Content-Type": patterns[0]}
    if len(patterns) == 1:
        return ["starts-with", "$Content-Type", patterns[0].removesuffix("*/*").removesuffix("*")], {}
    if any(pattern.endswith("*") for pattern in patterns):
        raise ConfigInvalid("--type: a form's policy takes one pattern, or several types without `*`")
    return ["in", "$Content-Type", list(patterns)], {}


def page_of(form: Form, claims: Claims) -> str:
    """A page with the form, ready for a browser."""
    types = as_list(claims.type)
    lines = [
        "<!doctype html>",
        '<meta charset="utf-8">',
        "<title>Upload</title>",
        f'<form action="{escape(form.url)}" method="post" enctype="multipart/form-data">',
        *(f'  <input type="hidden" name="{escape(n)}" value="{escape(v)}">' for n, v in form.fields.items()),
    ]
    if types and "Content-Type" not in form.fields:
        # A browser sends the file's type with the file; the policy is about this field.
        lines.append(
            f'  <label>Content type <input name="Content-Type" placeholder="{escape(types[0])}" required></label>'
        )
    accept = f' accept="{escape(",".join(types))}"' if types else ""
    lines += [
        f'  <input type="file" name="file" required{accept}>',
        "  <button>Upload</button>",
        "</form>",
        "",
    ]
    return "\n".join(lines)
