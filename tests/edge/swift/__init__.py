"""Keys of OpenStack Swift against the real gateway."""
