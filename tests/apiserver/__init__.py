"""A real Kubernetes API server on this machine's loopback, for the tests and `make cluster`.

What the agent leans on (server-side apply, NodeRestriction, uid preconditions, audit) is asked of
the server itself: kube-apiserver and etcd, built from the Go module proxy, and no kubelet.
"""

from tests.apiserver.build import AssetsUnavailable, assets
from tests.apiserver.cluster import ApiServer

__all__ = ["ApiServer", "AssetsUnavailable", "assets"]
