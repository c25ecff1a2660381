"""What an experiment would take, before anything is made: parameters, tokens, memory, time."""
