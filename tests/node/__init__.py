"""A real node: kubelet, containerd and runc in a booted container, and the agent beside them."""
