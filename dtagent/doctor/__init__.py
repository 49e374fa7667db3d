"""`dtagent doctor`: each thing that the agent needs, tried by the agent's own code."""
