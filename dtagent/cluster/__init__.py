"""One Node over the Kubernetes API: by which credentials, how requests travel, what is asked for.
Paths, a Node's name and labels come in; `Observed` and the kinds of `NodeError` go out."""
