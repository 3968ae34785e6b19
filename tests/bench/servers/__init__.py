"""Servers on the loopback interface, each a process of its own. They print their port as the first line."""
