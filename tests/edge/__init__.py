"""The edge, seen from outside: real daemons, real sockets, real proxies."""
