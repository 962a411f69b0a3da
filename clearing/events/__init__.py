"""What happened to windows, told to the outside: catalog, outbox, relay."""
