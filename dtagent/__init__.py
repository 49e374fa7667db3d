"""dtagent keeps the labels of this host's Kubernetes Node true to its devicetree."""

__version__ = "0.1.0"
