"""Everything that can go wrong between the agent and its API server, done to a real agent."""
