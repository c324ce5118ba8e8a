"""Starting, watching and ending measured processes, and what the machine was doing meanwhile."""
