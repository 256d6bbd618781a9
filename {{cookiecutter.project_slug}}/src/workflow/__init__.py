"""The workflow: everything here is yours to change. The chassis is what it stands on."""
