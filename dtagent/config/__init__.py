"""What can be set, and where it is read from. Gives one frozen `Settings`; knows nothing of a tree
or a cluster. A new key goes into `settings.py`."""
