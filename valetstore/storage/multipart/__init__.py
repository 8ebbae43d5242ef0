"""Uploads in parts on a disk: where they are, their parts, how they become one object, who collects them."""
