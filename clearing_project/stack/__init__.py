"""The stack runner: embedded servers and the engine's processes, started, watched and stopped as one."""
