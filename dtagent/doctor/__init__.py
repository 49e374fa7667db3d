"""`dtagent doctor`: each thing that the agent needs, tried by the agent's own code, with a remedy.
The command line's settings and scan come in; a line a check goes out. The agent never loads it."""
