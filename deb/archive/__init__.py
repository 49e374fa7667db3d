"""The APT repository: `make repo` makes one of what `make deb` built (docs/apt.md)."""
