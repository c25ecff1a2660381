"""The stages of AgentPRM as assets: one noun a file, each a thin cover over one function of core or training."""
