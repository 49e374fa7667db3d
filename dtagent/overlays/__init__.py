"""Overlays under configfs: which are applied, that one may have come or gone, and how long to look
after that. Tells the agent by a callback from threads of its own."""
