"""S3, seen from its clients: real ones, of many makers, against real gateways."""
