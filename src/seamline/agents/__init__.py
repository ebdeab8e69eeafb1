"""Agents: the facade, the graph, and what runs need."""
