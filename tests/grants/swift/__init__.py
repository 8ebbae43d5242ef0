"""Keys of OpenStack Swift, judged without a network."""
