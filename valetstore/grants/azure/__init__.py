"""Keys of Azure Blob: shared access signatures (service and account)."""

from valetstore.grants.azure.rules import Rules
from valetstore.grants.azure.scheme import Azure
from valetstore.keys.vendor import AZURE as NAME

__all__ = ["NAME", "Azure", "Rules"]
