"""HTTP in and out: the only place that knows aiohttp, sockets and status codes."""
