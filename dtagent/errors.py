"""What may fail; the tree says what whoever catches it does about it. Anything else is a bug.

Each message names the place and the remedy. `cli.py` alone turns them into exit statuses.
"""


class DtagentError(Exception):
    """What could not be done, in words for the user. Exit status 1."""


class ConfigError(DtagentError):
    """The configuration or the command line is wrong; trying again will not help. Exit status 2."""


class TreeError(DtagentError):
    """The devicetree could not be read as a whole: nothing is known, and nothing published."""


class NodeError(DtagentError):
    """The Node could not be read or patched. Tried again, later each time, up to a minute."""


class RefusedError(NodeError):
    """The server is well and said no (400, 409, 422, ...): the connection is kept."""


class ForbiddenError(RefusedError):
    """403: the credential may not do this; NodeRestriction's own words are in the message."""


class NodeMissingError(RefusedError):
    """404: there is no Node of that name. The watch tells when it comes."""


class NodeReplacedError(RefusedError):
    """409 or 422 on `metadata.uid`: it went, or came back as another object. Read again at once."""


class BusyError(RefusedError):
    """429, or 503 with Retry-After: to be left alone for `retry_after` seconds, and is."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnreachableError(NodeError):
    """No usable answer: the network, or none within the deadline. Connected anew."""


class TlsError(UnreachableError):
    """Server and agent do not trust each other: CA, host name, time of validity, our own pair."""


class ServerError(UnreachableError):
    """5xx, or an answer that is not the API's: a server that starts, a proxy, a captive portal."""


class CredentialsError(NodeError):
    """No kubeconfig that can be used, or one that names the wrong Node. Connected anew."""


class UnauthorizedError(CredentialsError):
    """401: the server does not know this credential (any more). Once more at once, read anew."""
