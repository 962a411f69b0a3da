"""Views: translate in, one call, translate out. Errors go to the one handler of ``problems``."""
