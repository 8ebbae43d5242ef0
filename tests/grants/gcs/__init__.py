"""Keys of Google Cloud Storage, against Google's own library as the stranger that signs."""
