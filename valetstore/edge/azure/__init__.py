"""What an admitted request with a key of Azure Blob does, and how it is answered."""

from valetstore.edge.azure.calls import AzureCalls

__all__ = ["AzureCalls"]
