"""How measured processes are started, watched and ended, and what the machine was doing meanwhile."""
