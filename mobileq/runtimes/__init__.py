"""Every way to run a network, each of which may have a process of its own."""
