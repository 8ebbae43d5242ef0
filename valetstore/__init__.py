"""valetstore: a storage gateway that serves and accepts blobs only against a valid signed key.

An application needs three names from here: `Signer` (a signing key), `sign` (a signed URL), and `Denied`.
"""

__version__ = "0.1.0"

from valetstore.errors import Denied
from valetstore.grants.grant import Grant
from valetstore.signing import Signer, SigningRefused, sign

__all__ = ["Denied", "Grant", "Signer", "SigningRefused", "__version__", "sign"]
