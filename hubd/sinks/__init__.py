"""Sinks: copies of figures and events elsewhere. They only read, so none can delay a campaign."""
