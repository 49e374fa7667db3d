"""The Debian packages in booted containers of Debian, with the real API server on loopback."""
