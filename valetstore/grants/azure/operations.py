"""Which operation of Azure Blob a request asks for, and which permission opens it: one table.

Rule 1: what is not in the table is not served: 501 for what Azure knows, 405 for methods nothing has there.
Rule 2: a parameter or header that makes another operation of a request (`comp`, x-ms-copy-source) is never passed
over: `PUT ?comp=lease` is no upload.

Sources: Azure Storage REST reference, "Blob service REST API", "Create a service SAS", "Create an account SAS".
"""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from valetstore.errors import Denied
from valetstore.grants.azure.address import Address
from valetstore.grants.grant import Operation
from valetstore.inbound import Inbound

Level = Literal["s", "c", "o"]
"""The resource that an operation is on, as an account SAS names it: the service, a container, an object."""


class Action(NamedTuple):
    """One operation by the name Azure's documentation has for it.

    `letters` are the permissions of which each one alone opens it. `by_service_sas` says whether a service SAS can: a
    container itself is only an account SAS's to make, show or delete. `partly` is `Intent.partly`.
    """

    name: str
    operation: Operation
    level: Level
    letters: str
    by_service_sas: bool = True
    partly: bool = False


def _container(name: str, operation: Operation, letters: str, *, partly: bool = False) -> Action:
    return Action(name, operation, "c", letters, by_service_sas=False, partly=partly)


_CONTAINER_PROPERTIES: Final = _container("GetContainerProperties", "list", "r", partly=True)
_CONTAINER_METADATA: Final = _container("GetContainerMetadata", "list", "r", partly=True)
_BLOB_METADATA: Final = Action("GetBlobMetadata", "read", "o", "r")

_SERVICE: Final[Mapping[tuple[str, str, str], Action]] = {
    ("GET", "", "list"): Action("ListContainers", "list", "s", "l", by_service_sas=False, partly=True),
}
"""By method, `restype` and `comp`."""

_CONTAINERS: Final[Mapping[tuple[str, str, str], Action]] = {
    ("PUT", "container", ""): _container("CreateContainer", "write", "cw"),
    ("DELETE", "container", ""): _container("DeleteContainer", "delete", "d"),
    ("GET", "container", ""): _CONTAINER_PROPERTIES,
    ("HEAD", "container", ""): _CONTAINER_PROPERTIES,
    ("GET", "container", "metadata"): _CONTAINER_METADATA,
    ("HEAD", "container", "metadata"): _CONTAINER_METADATA,
    ("PUT", "container", "metadata"): _container("SetContainerMetadata", "write", "w"),
    ("GET", "container", "list"): Action("ListBlobs", "list", "c", "l"),
}

_BLOBS: Final[Mapping[tuple[str, str, str], Action]] = {
    ("GET", "", ""): Action("GetBlob", "read", "o", "r"),
    ("HEAD", "", ""): Action("GetBlobProperties", "read", "o", "r"),
    ("GET", "", "metadata"): _BLOB_METADATA,
    ("HEAD", "", "metadata"): _BLOB_METADATA,
    ("GET", "", "blocklist"): Action("GetBlockList", "read", "o", "r"),
    # With `c` alone nothing is replaced. Azure lets it not stage blocks, so large blobs cannot be made; here it does.
    ("PUT", "", ""): Action("PutBlob", "write", "o", "cw"),
    ("PUT", "", "block"): Action("PutBlock", "write", "o", "cw"),
    ("PUT", "", "blocklist"): Action("PutBlockList", "write", "o", "cw"),
    ("PUT", "", "metadata"): Action("SetBlobMetadata", "write", "o", "w"),
    ("PUT", "", "properties"): Action("SetBlobProperties", "write", "o", "w"),
    ("DELETE", "", ""): Action("DeleteBlob", "delete", "o", "d"),
}
_DELETE_VERSION: Final = Action("DeleteBlob", "delete", "o", "x")

# Named in Azure's REST reference, for the service, containers and blobs; each is an operation of its own.
# fmt: off
_COMPONENTS: Final = frozenset({
    "acl", "appendblock", "batch", "blobs", "block", "blocklist", "copy", "expiry", "immutabilityPolicies",
    "incrementalcopy", "lease", "legalhold", "list", "metadata", "page", "pagelist", "properties", "query", "rename",
    "seal", "snapshot", "stats", "tags", "tier", "undelete", "userdelegationkey",
})
# fmt: on
_RESOURCES: Final = frozenset({"", "account", "container", "service"})
# Each makes a copy of a PUT: a key for one blob would write another's bytes there.
_COPIES: Final = ("x-ms-copy-source", "x-ms-rename-source")


def action_of(inbound: Inbound, address: Address) -> Action:
    """The operation. Raises `not_implemented`, `method_not_allowed`, `parameter_invalid`."""
    restype, comp = _parameter(inbound, "restype"), _parameter(inbound, "comp")
    if comp and comp not in _COMPONENTS:
        raise _invalid("comp", comp)
    if restype not in _RESOURCES:
        raise _invalid("restype", restype)
    for name in _COPIES:
        if inbound.header(name) is not None:
            raise Denied("not_implemented", f"{name}: blobs are not copied here.").saying("NotImplemented")
    action = _table(address).get((inbound.method, restype, comp))
    if action is None:
        raise _not_served(inbound, address, restype, comp)
    if action.name == "DeleteBlob" and inbound.parameters("versionid"):
        return _DELETE_VERSION
    return action


def _table(address: Address) -> Mapping[tuple[str, str, str], Action]:
    if address.blob:
        return _BLOBS
    return _CONTAINERS if address.container else _SERVICE


def _parameter(inbound: Inbound, name: str) -> str:
    """A parameter that chooses the operation; "" where it is not there. Raises `parameter_invalid`."""
    values = [(given, value) for given, value in inbound.query if given.lower() == name]
    if len(values) > 1 or (values and values[0][0] != name):
        said = f"`{name}` is given once, in lower case."
        raise Denied("parameter_invalid", said).saying(
            "InvalidQueryParameterValue", QueryParameterName=name, QueryParameterValue=values[0][1], Reason=said
        )
    return values[0][1] if values else ""


def _not_served(inbound: Inbound, address: Address, restype: str, comp: str) -> Denied:
    if address.container and not address.blob and not restype:
        # Azure would read the container's name as a blob of the root container.
        return Denied("parameter_invalid", "`restype=container` is missing.").saying(
            "MissingRequiredQueryParameter", QueryParameterName="restype"
        )
    if comp or restype:
        asked = "&".join(f"{name}={value}" for name, value in (("restype", restype), ("comp", comp)) if value)
        return Denied("not_implemented", f"{inbound.method} ?{asked}.").saying("NotImplemented")
    return Denied("method_not_allowed")


def _invalid(name: str, value: str) -> Denied:
    return Denied("parameter_invalid", f"`{name}={value}` is no operation of Azure Blob's.").saying(
        "InvalidQueryParameterValue",
        QueryParameterName=name,
        QueryParameterValue=value,
        Reason="The value is not one that the service knows.",
    )
