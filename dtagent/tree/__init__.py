"""The devicetree: read, selected from, and made into labels. Settings and overlay names come in,
`Labels` go out; nothing here knows of Kubernetes but by its grammar of labels."""
