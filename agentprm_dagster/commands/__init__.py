"""The commands of `agentprm`, one idea a file."""
