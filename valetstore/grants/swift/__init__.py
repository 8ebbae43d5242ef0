"""Keys of OpenStack Swift: TempURLs and FormPost."""

from valetstore.grants.swift.rules import Rules
from valetstore.grants.swift.scheme import Swift
from valetstore.keys.vendor import SWIFT as NAME

__all__ = ["NAME", "Rules", "Swift"]
