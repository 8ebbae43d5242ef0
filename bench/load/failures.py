"""Failures: what goes wrong with a connection, in a few words that are the same each time and can be counted."""

import ssl


def named(error: OSError) -> str:
    """The name of an error of the system or of TLS: `connection refused`."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or 'protocol error').lower().replace('_', ' ')}"
    return (error.strerror or type(error).__name__).lower()
