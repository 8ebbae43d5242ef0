"""Does the grant cover it: what the head of a request shows (`request`), what its body shows (`body`)."""
