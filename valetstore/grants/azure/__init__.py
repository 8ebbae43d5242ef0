"""Keys of Azure Blob: shared access signatures (service and account).

Files read in this order: `scheme` (what came, and what it allows) -> `address`, `operations` (what is asked) ->
`claim`, `fields`, `permissions`, `layout`, `signer` (what was signed, and by whom). `sign` signs, `explain` explains.
"""

from valetstore.grants.azure.rules import Rules
from valetstore.grants.azure.scheme import Azure
from valetstore.keys.vendor import AZURE as NAME

__all__ = ["NAME", "Azure", "Rules"]
