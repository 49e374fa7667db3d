"""Who the packages say maintains them: DEBFULLNAME and DEBEMAIL, as for Debian's tools (dch(1)).

The files under packaging/debian name nobody, at a domain that nobody can have (RFC 2606), so that
a package built locally does not claim to be from somebody.
"""

from __future__ import annotations

import os
import re

from deb.host import HostError

NOBODY = "local build of dtagent <nobody@dtagent.invalid>"
"""As packaging/debian has it, in control and changelog."""

NAME, ADDRESS = r"[^\s<>,\"][^<>,\"\n]*", r"[^\s<>@]+@[^\s<>@]+"


def maintainer() -> str:
    """`NAME <ADDRESS>` of the environment, or NOBODY where neither variable is set.

    HostError if one is set without the other, or to what a control file cannot have.
    """
    name, address = (os.environ.get(key, "").strip() for key in ("DEBFULLNAME", "DEBEMAIL"))
    if not name and not address:
        return NOBODY
    if not re.fullmatch(NAME, name) or not re.fullmatch(ADDRESS, address):
        raise HostError(
            f"DEBFULLNAME is {name!r} and DEBEMAIL {address!r}: set both, to a name without any "
            'of <>," and to an address, or neither (packaging/debian/README.source)'
        )
    return f"{name} <{address}>"
