"""The REST door: ``/api/v1/clearing/``, its documentation, and the health of what it stands on."""
