"""S3's XML: documents written in the one shape its clients read, bodies parsed without entities and DTDs.

Rule 1: what is written is escaped here, and nothing that XML 1.0 cannot hold leaves this file.
Rule 2: what is read may be in S3's namespace or in none, as AWS takes it.
Rule 3: what is read is counted first: of a million elements or attributes a tree is made at the expense of all other
requests, in whatever thread.
"""

import re
from collections.abc import Sequence
from typing import Final, Union
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import escape

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from valetstore.edge.replies import Header, Reply
from valetstore.errors import Denied

NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
HEAD: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'

Node = tuple[str, Union[str, int, bool, "Sequence[Node]", None]]
"""A name with text, a number, a truth, nothing (left out), or children."""

# XML 1.0 section 2.2: what no document may hold, escaped or not.
_FORBIDDEN: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def document(name: str, children: Sequence[Node] | str, *, namespace: bool = True) -> bytes:
    """A whole document: an element of elements, or one of text. Children whose value is None are left out."""
    attribute = f' xmlns="{NAMESPACE}"' if namespace else ""
    return f"{HEAD}<{name}{attribute}>{_text(children)}</{name}>".encode()


def xml_reply(
    name: str,
    children: Sequence[Node] | str,
    status: int = 200,
    headers: Sequence[Header] = (),
    *,
    namespace: bool = True,
) -> Reply:
    """A document as a reply."""
    return Reply(status, [("Content-Type", "application/xml"), *headers], document(name, children, namespace=namespace))


TAGS_MAX: Final = 20_000
"""More than a thousand objects with all their members have."""
ATTRIBUTES_MAX: Final = 20_000
"""Namespaces are all that S3's documents have of them, once or with every element."""

# In UTF-16 too; what looks so in a text is counted as well.
_ATTRIBUTE: Final = re.compile(rb"=[\s\0]*[\"']")


def parsed(body: bytes, root: str, tags_max: int = TAGS_MAX) -> Element:
    """A body as an element tree, names without their namespace. Raises `parameter_invalid` (MalformedXML)."""
    if body.count(b"<") > tags_max:
        raise malformed("it has too many elements")
    if sum(1 for _ in _ATTRIBUTE.finditer(body)) > ATTRIBUTES_MAX:
        raise malformed("it has too many attributes")
    try:
        tree: Element = fromstring(body, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError, RecursionError) as error:
        raise malformed(type(error).__name__) from None
    for element in tree.iter():
        element.tag = element.tag.rpartition("}")[2]
    if tree.tag != root:
        raise malformed(f"its root is not {root}")
    return tree


def malformed(reason: str = "") -> Denied:
    """The body is not the XML that this operation takes."""
    return Denied("parameter_invalid", "The XML you provided was not well-formed.", reason=reason).saying(
        "MalformedXML",
        "The XML you provided was not well-formed or did not validate against our published schema",
    )


def _inner(children: Sequence[Node]) -> str:
    return "".join(f"<{name}>{_text(value)}</{name}>" for name, value in children if value is not None)


def _text(value: "str | int | bool | Sequence[Node] | None") -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return escape(_FORBIDDEN.sub("\ufffd", value))
    return _inner(value or ())
