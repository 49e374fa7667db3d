"""What makes and tries the Debian packages: caches, apt, roots of Debian releases, the build."""
