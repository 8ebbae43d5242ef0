"""What an admitted request with a key of OpenStack Swift does, and how it is answered."""

from valetstore.edge.swift.calls import SwiftCalls

__all__ = ["SwiftCalls"]
