"""Programs for users; each is one verb of launch.sh."""
