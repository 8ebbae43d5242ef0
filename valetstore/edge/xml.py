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
from xml.sax.saxutils import escape, quoteattr

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from valetstore.edge.replies import Header, Reply
from valetstore.errors import Denied

NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
HEAD: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'

Node = tuple[str, Union[str, int, bool, "Sequence[Node]", None]]
"""A name (or what `tag` makes of one) with text, a number, a truth, nothing (left out), or children."""

# XML 1.0 section 2.2: what no document may hold, escaped or not.
_FORBIDDEN: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_LOST: Final = "\ufffd"


def document(name: str, children: Sequence[Node] | str, *, namespace: bool | str = True, head: str = HEAD) -> bytes:
    """A whole document: an element of elements, or one of text. Children whose value is None are left out.

    `namespace` is a vendor's, or whether S3's is given; `head` is how the vendor writes the XML declaration.
    """
    attribute = f' xmlns="{NAMESPACE if namespace is True else namespace}"' if namespace else ""
    return f"{head}<{name}{attribute}>{_text(children)}</{_bare(name)}>".encode()


def tag(name: str, **attributes: str) -> str:
    """An element's name with attributes."""
    return " ".join([name, *(f"{key}={quoteattr(_FORBIDDEN.sub(_LOST, value))}" for key, value in attributes.items())])


def is_carried(text: str) -> bool:
    """Whether XML gives this text back as it is: not what it cannot hold, and no line end that it would change."""
    return _FORBIDDEN.search(text) is None and "\r" not in text


def xml_reply(
    name: str,
    children: Sequence[Node] | str,
    status: int = 200,
    headers: Sequence[Header] = (),
    *,
    namespace: bool | str = True,
    head: str = HEAD,
) -> Reply:
    """A document as a reply."""
    text = document(name, children, namespace=namespace, head=head)
    return Reply(status, [("Content-Type", "application/xml"), *headers], text)


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
    return "".join(f"<{name}>{_text(value)}</{_bare(name)}>" for name, value in children if value is not None)


def _bare(name: str) -> str:
    """Without its attributes."""
    return name.partition(" ")[0] if " " in name else name


def _text(value: "str | int | bool | Sequence[Node] | None") -> str:
    if isinstance(value, str):
        # Lists are thousands of plain texts. What is printable has nothing forbidden: those are no characters to show.
        if value.isprintable() and not ("&" in value or "<" in value or ">" in value):
            return value
        return escape(_FORBIDDEN.sub(_LOST, value))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return _inner(value or ())
