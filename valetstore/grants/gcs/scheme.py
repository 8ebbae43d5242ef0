"""The dialect of Google Cloud Storage: which of its keys came, what is asked for, and the grant that follows."""

from valetstore.errors import Denied
from valetstore.grants.gcs.rules import Rules
from valetstore.grants.grant import Intent, Proof
from valetstore.grants.scheme import Credential
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.keys.vendor import GCS as NAME


class Gcs:
    """The scheme, with the operator's rules."""

    name = NAME
    signs_method = True

    def __init__(self, rules: Rules | None = None) -> None:
        self.rules = rules or Rules()

    def recognises(self, inbound: Inbound) -> list[Credential]:
        """Every key of this dialect in the request."""
        return []

    def intent(self, inbound: Inbound) -> Intent:
        """What the request asks for."""
        raise Denied("not_implemented")

    def verify(self, inbound: Inbound, credential: Credential, keys: KeyRing) -> Proof:
        """Prove the credential."""
        raise Denied("not_implemented")
