"""What may happen to the agent while it waits, as it is put on its queue."""

import enum
import threading

# What a signal, or a thread that watches the world, has to say.
Event = enum.Enum("Event", ["STOP", "RELOAD", "OVERLAY", "NODE"])
Happening = Event | threading.ExceptHookArgs  # the latter is a thread's death


class Stopped(BaseException):
    """Raised by a signal's handler, so that a stop does not wait for a request to end."""
