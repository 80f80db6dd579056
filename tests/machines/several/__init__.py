"""Three machines in network namespaces, what can happen to them, and the counting of what came of it (P21, P22)."""
