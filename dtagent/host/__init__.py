"""What the host is told: systemd, the journal, and the state file that `dtagent status` reads."""
