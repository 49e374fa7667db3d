"""An arm64 board in QEMU, with overlays under configfs, for the tests that need a real kernel."""
